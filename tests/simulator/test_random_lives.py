"""Random calls and moves, from a seed: the simulator always answers, and its sums hold."""

from __future__ import annotations

import contextlib
from random import Random
from typing import Any

import pytest

from returns_service.stripe_simulator import MOVES, Refusal, WrongMove
from returns_service.stripe_simulator.methods import TEST_METHODS
from tests.simulator.shop import DAY, Shop

LIVES, STEPS = 20, 60
VERSIONS = ("", "2025-02-24.acacia", "2020-08-27", "2015-10-16")
FREED = ("failed", "canceled")


class Life:
    """A shop, and dice that choose what happens next."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.shop = Shop()

    def live(self) -> None:
        """Take all steps, and check the sums after each."""
        for _ in range(STEPS):
            self.random.choice((self.pay, self.change, self.refund, self.move, self.wait))()
            self.check()

    def call(self, path: str, form: dict[str, Any]) -> None:
        """Call in a random version; any answer but a crash will do."""
        response = self.shop.call("POST", path, form, version=self.random.choice(VERSIONS))
        assert response.status in (200, 400, 402, 404), response.body

    def pay(self) -> None:
        """Create a payment, maybe confirmed, maybe only authorized."""
        form: dict[str, Any] = {
            "amount": self.random.choice([50, 100, 5000, 10_000]),
            "currency": self.random.choice(["usd", "eur", "isk", "kwd", "jpy"]),
            "payment_method": self.random.choice(list(TEST_METHODS)),
            "confirm": self.random.choice(["true", "true", "false"]),
            "capture_method": self.random.choice(["automatic", "manual"]),
        }
        for feature in ("multicapture", "incremental_authorization"):
            if self.random.random() < 0.5:
                form[f"payment_method_options[card][request_{feature}]"] = "if_available"
        self.call("/v1/payment_intents", form)

    def change(self) -> None:
        """Confirm, capture, cancel, increment or update a payment."""
        choices: list[tuple[str, dict[str, Any]]] = [
            ("/confirm", {"payment_method": self.random.choice(list(TEST_METHODS))}),
            ("/capture", {"amount_to_capture": self.random.choice([10, 3000]), "final_capture": "false"}),
            ("/capture", {"amount_to_capture": self.random.choice([100, 6000])}),
            ("/cancel", {}),
            ("/increment_authorization", {"amount": self.random.choice([100, 20_000])}),
            ("", {"metadata[a]": "1"}),
        ]
        verb, form = self.random.choice(choices)
        self.call(f"/v1/payment_intents/{self.choose_payment()}{verb}", form)

    def refund(self) -> None:
        """Refund a part of a payment, or all of it."""
        form: dict[str, Any] = {"payment_intent": self.choose_payment()}
        if self.random.random() < 0.7:
            form["amount"] = self.random.choice([10, 100, 1000])
        if self.random.random() < 0.5:
            form["instructions_email"] = "kim@shop.example"
        self.call("/v1/refunds", form)

    def move(self) -> None:
        """Make any move on any object; most are refused."""
        ledger = self.shop.ledger
        move = self.random.choice(MOVES)
        rows = [*ledger.payment_intents, *ledger.charges, *ledger.refunds, *ledger.disputes]
        name = self.random.choice(rows)["id"] if rows else ""
        versioned = move in ("capture", "cancel_payment", "expire_authorization")
        more = {"api_version": self.random.choice([None, VERSIONS[1]])} if versioned else {}
        with contextlib.suppress(LookupError, Refusal, WrongMove):
            self.shop.dashboard.move(move, name, **more)

    def wait(self) -> None:
        """Let time pass."""
        self.shop.wait(self.random.choice([0.5, 1.0, DAY, 100 * DAY]))

    def choose_payment(self) -> str:
        """Return the id of a payment, or of none."""
        return str(self.random.choice([*(row["id"] for row in self.shop.ledger.payment_intents), "pi_0"]))

    def check(self) -> None:
        """Check every charge's sums against its refunds and captures."""
        ledger = self.shop.ledger
        for charge in ledger.charges:
            rows = [row for row in ledger.find_refunds(charge["id"]) if row["status"] not in FREED]
            paid_back = sum(row["amount"] for row in rows if row["id"] not in ledger.releases)
            assert paid_back <= (charge["amount_captured"] or 0) <= charge["amount"]
            assert sum(row["amount"] for row in rows) == charge["amount_refunded"] <= charge["amount"]
        for intent in ledger.payment_intents:
            assert intent["amount_received"] + intent["amount_capturable"] <= intent["amount"]


@pytest.mark.parametrize("seed", range(LIVES))
def test_no_life_pays_back_more_than_was_captured(seed: int) -> None:
    life = Life(Random(seed))
    life.live()
    for path in ("charges", "payment_intents", "refunds", "disputes", "events", "balance_transactions"):
        assert life.shop.call("GET", f"/v1/{path}", {"limit": 100}, version="2015-10-16").status == 200


def test_the_same_seed_leads_to_the_same_ledger() -> None:
    events = []
    for _ in range(2):
        life = Life(Random(7))
        life.live()
        events.append(list(life.shop.ledger.events))
    assert events[0] == events[1] != []
