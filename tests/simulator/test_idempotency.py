"""What an Idempotency-Key keeps, for how long, and what it does not."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from returns_service.stripe_simulator import Refusal, WrongMove, answer
from tests.simulator.shop import DAY, Shop


def test_a_replay_is_the_first_answer_and_does_nothing(shop: Shop) -> None:
    intent = shop.pay()
    form = {"payment_intent": intent["id"], "amount": 100}
    first, again = (shop.call("POST", "/v1/refunds", form, "k1") for _ in range(2))
    assert first.body == again.body
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"] != again.headers["Request-Id"]
    assert len(shop.ledger.refunds) == 1


def test_a_replay_shows_the_status_of_then_not_of_now(shop: Shop) -> None:
    refund = shop.refund(shop.pay(card="pm_card_pendingRefund"), 100, "k1")
    shop.wait()
    assert shop.post("/v1/refunds", {"payment_intent": refund["payment_intent"], "amount": 100}, "k1") == refund
    assert shop.again(refund)["status"] == "succeeded"


def test_other_parameters_or_another_address_are_an_idempotency_error(shop: Shop) -> None:
    intent = shop.pay()
    first = shop.refund(intent, 100, "k1")
    error = shop.refused("/v1/refunds", {"payment_intent": intent["id"], "amount": 101}, key="k1")
    assert error["type"] == "idempotency_error"
    assert "code" not in error
    assert shop.refused(f"/v1/refunds/{first['id']}", {}, key="k1")["type"] == "idempotency_error"
    assert shop.refund(intent, 100, "k1")["id"] == first["id"]


def test_a_pruned_key_executes_again(shop: Shop) -> None:
    intent = shop.pay()
    first = shop.refund(intent, 100, "k1")
    shop.wait(DAY - 1)
    assert shop.refund(intent, 100, "k1")["id"] == first["id"]
    shop.wait(1)
    assert shop.refund(intent, 100, "k1")["id"] != first["id"]
    assert shop.charge(intent)["amount_refunded"] == 200


def test_a_business_refusal_is_kept(shop: Shop) -> None:
    intent = shop.pay(5000)
    form = {"payment_intent": intent["id"], "amount": 5001}
    shop.refused("/v1/refunds", form, key="k1")
    again = shop.call("POST", "/v1/refunds", form, "k1")
    assert (again.status, again.headers["Idempotent-Replayed"]) == (400, "true")


def test_a_failed_validation_is_not_kept(shop: Shop) -> None:
    intent = shop.pay()
    shop.refused("/v1/refunds", {"payment_intent": intent["id"], "amount": "x"}, key="k1")
    assert shop.refund(intent, 100, "k1")["status"] == "succeeded"


def test_a_key_may_have_255_characters(shop: Shop) -> None:
    intent = shop.pay()
    assert shop.refund(intent, 1, "k" * 255)["amount"] == 1
    shop.refused("/v1/refunds", {"payment_intent": intent["id"], "amount": 1}, key="k" * 256)


def test_a_key_on_a_read_means_nothing(shop: Shop) -> None:
    shop.refund(shop.pay(), 100, "k1")
    response = shop.call("GET", "/v1/refunds", key="k1")
    assert (response.status, "Idempotent-Replayed" in response.headers) == (200, False)


def test_a_stored_500_is_replayed_and_did_nothing_until_its_repair(shop: Shop) -> None:
    intent = shop.pay()
    request = shop.request("POST", "/v1/refunds", {"payment_intent": intent["id"], "amount": 100}, "k1")
    first = answer(shop.ledger, request, "before")
    assert (first.status, first.json()["error"]["type"]) == (500, "api_error")
    again = answer(shop.ledger, request)
    assert (again.status, again.headers["Idempotent-Replayed"]) == (500, "true")
    assert shop.get("/v1/refunds")["data"] == []
    before = len(shop.ledger.events)
    refund = shop.dashboard.repair("k1")
    assert shop.get("/v1/refunds")["data"] == [refund]
    assert shop.event_types(before) == ["refund.created", "charge.refunded"]
    assert shop.last_event("refund.created")["request"] == {
        "id": first.headers["Request-Id"], "idempotency_key": "k1",
    }  # fmt: skip
    assert answer(shop.ledger, request).status == 500
    with pytest.raises(LookupError):
        shop.dashboard.repair("k1")


def test_a_stored_500_may_have_done_it_all(shop: Shop) -> None:
    request = shop.request("POST", "/v1/refunds", {"payment_intent": shop.pay()["id"], "amount": 100}, "k1")
    assert answer(shop.ledger, request, "after").status == 500
    assert len(shop.get("/v1/refunds")["data"]) == 1
    assert answer(shop.ledger, request).headers["Idempotent-Replayed"] == "true"
    assert not shop.ledger.unfinished


def test_a_repair_can_come_too_late(shop: Shop) -> None:
    intent = shop.pay()
    answer(shop.ledger, shop.request("POST", "/v1/refunds", {"payment_intent": intent["id"]}, "k1"), "before")
    shop.refund(intent)
    with pytest.raises(Refusal, match="400"):
        shop.dashboard.repair("k1")
    assert shop.charge(intent)["amount_refunded"] == 5000


def test_a_request_that_breaks_before_execution_is_not_kept(shop: Shop) -> None:
    request = shop.request("POST", "/v1/refunds", {"payment_intent": shop.pay()["id"], "amount": "x"}, "k1")
    assert answer(shop.ledger, request, "before").status == 400
    assert not shop.ledger.unfinished


CARDS = st.sampled_from(["pm_card_visa", "pm_card_pendingRefund", "pm_card_refundFail", "pm_card_createDispute"])
AMOUNTS = st.one_of(st.none(), st.integers(1, 1200))
MOVES = st.sampled_from(["settle", "fail", "cancel", "require_action", "pend"])
KEYS = st.sampled_from(["", "k1", "k2", "k3"])
STEPS = st.one_of(
    st.tuples(st.just("refund"), st.integers(0, 1), AMOUNTS, KEYS, st.sampled_from([None, None, "before", "after"])),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 1.0, 3600.0, DAY])),
    st.tuples(st.just("move"), MOVES, st.integers(0, 9)),
    st.tuples(st.just("by hand"), st.integers(0, 1), AMOUNTS),
    st.tuples(st.just("repair"), KEYS),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(cards=st.tuples(CARDS, CARDS), steps=st.lists(STEPS, max_size=25))
def test_no_run_of_calls_refunds_more_than_was_captured_or_replays_twice(
    cards: tuple[str, str], steps: list[tuple[object, ...]]
) -> None:
    shop = Shop()
    intents = [shop.pay(1000, card) for card in cards]
    for step in steps:
        before = len(shop.ledger.refunds)
        replayed = _take(shop, intents, step)
        if replayed:
            assert len(shop.ledger.refunds) == before
        for charge in shop.ledger.charges:
            names = shop.ledger.refunds_of.get(charge["id"], [])
            rows = [shop.ledger.refunds[name] for name in names]
            given_back = sum(row["amount"] for row in rows if row["status"] not in ("failed", "canceled"))
            assert charge["amount_refunded"] == given_back <= charge["amount_captured"]
            assert charge["refunded"] == (given_back == charge["amount_captured"])


def _take(shop: Shop, intents: list[dict[str, object]], step: tuple[object, ...]) -> bool:
    """Take one step; return whether it was answered by a replay."""
    match step:
        case "refund", int(which), amount, str(key), broken_at:
            form = {"payment_intent": intents[which]["id"]} | ({} if amount is None else {"amount": amount})
            request = shop.request("POST", "/v1/refunds", form, key)
            response = answer(shop.ledger, request, broken_at)  # type: ignore[arg-type]
            assert response.status in (200, 400, 500)
            return "Idempotent-Replayed" in response.headers
        case "wait", float(seconds) | int(seconds):
            shop.wait(seconds)
        case "move", str(move), int(which) if len(shop.ledger.refunds):
            names = [row["id"] for row in shop.ledger.refunds]
            with contextlib.suppress(WrongMove):
                shop.dashboard.move(move, names[which % len(names)])
        case "by hand", int(which), amount:
            with contextlib.suppress(Refusal):
                shop.dashboard.refund(str(intents[which]["id"]), amount)  # type: ignore[arg-type]
        case "repair", str(key):
            with contextlib.suppress(LookupError, Refusal):
                shop.dashboard.repair(key)
    return False
