"""A return that waits says for what: in its own answer, on the desk, on its page's first line, and in the log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from returns_service.stripe_simulator import PERMISSIONS, build_key
from tests.harness.served_shop import ServedShop, expect
from tests.harness.shop import KEY


def answer_500(shop: ServedShop) -> None:
    shop.faults.arm("500", path="/v1/refunds", method="POST")


def limit_rate(shop: ServedShop) -> None:
    shop.faults.arm("429_rate_limit", path="/v1/refunds", method="POST")


def refuse_key(shop: ServedShop) -> None:
    shop.ledger.api_keys[KEY] = build_key([name for name in PERMISSIONS if not name.startswith("rak_charge_write")])


def empty_balance(shop: ServedShop) -> None:
    shop.ledger.settings.balance = "short_refuses"


def let_bank_wait(shop: ServedShop) -> None:
    shop.ledger.settings.balance = "short_waits"


@pytest.mark.parametrize(
    "fault,status,code,words",
    [
        (answer_500, "unknown", "no_answer", "nobody knows yet"),
        (limit_rate, "queued", "stripe_unavailable", "rate_limit"),
        (refuse_key, "queued", "stripe_refuses", "rak_charge_write"),
        (empty_balance, "queued", "refused_for_now", "Top up the Stripe balance"),
        (let_bank_wait, "pending", "balance_too_low", "balance is too low"),
    ],
)
async def test_what_stripe_answered_is_in_the_return_and_in_the_log(
    shop: ServedShop, fault: Callable[[ServedShop], None], status: str, code: str, words: str
) -> None:
    made = await shop.create_approved_return()
    fault(shop)
    await shop.receive_parcel(made["id"])
    with capture_logs() as logs:
        await shop.work()
    shown = await shop.read_return(made["id"])
    (waiting,), (refund,) = shown["refunds_waiting"], shown["refunds"]
    assert (shown["state"], waiting["refund"], waiting["status"], waiting["code"]) == (
        "refunding", refund["id"], status, code,
    )  # fmt: skip
    assert words in waiting["message"]
    assert waiting["next_attempt_at"] is not None
    assert (refund["waiting_code"], refund["waits_for"]) == (code, waiting["message"])
    lines = [line for line in logs if line.get("return") == made["id"]]
    assert {line["event"] for line in lines} >= {"refund.asked"}
    assert all(line["refund"] == refund["id"] for line in lines if line["event"].startswith("refund."))
    if status != "pending":  # an answer that is no refund has a code, and the log says when the next attempt is made
        (asked,) = [line for line in lines if line["event"] == "refund.asked"]
        assert asked["code"]
        assert asked["next_attempt_at"] == waiting["next_attempt_at"]


async def dispute(shop: ServedShop, made: dict[str, Any]) -> None:
    shop.dashboard.open_dispute(made["payment_intent"])
    await shop.deliver()


async def refund_outside(shop: ServedShop, made: dict[str, Any]) -> None:
    shop.dashboard.refund(made["charge"], amount=100)
    await shop.deliver()


async def nothing(_: ServedShop, __: dict[str, Any]) -> None:
    """Let no worker run."""


@pytest.mark.parametrize(
    "what,delay,code",
    [
        (nothing, 0, "worker"),
        (nothing, 600, "refund_delay"),
        (dispute, 600, "payment_disputed"),
        (refund_outside, 600, "external_refund_open"),
    ],
)
async def test_what_holds_a_refund_before_stripe_is_asked_is_said(
    shop: ServedShop, what: Callable[[ServedShop, dict[str, Any]], Any], delay: int, code: str
) -> None:
    shop.policy = shop.context.policy = replace(shop.context.policy, refund_delay=delay)
    made = await shop.create_approved_return()
    await shop.receive_parcel(made["id"])
    await what(shop, made)
    (waiting,) = (await shop.read_return(made["id"]))["refunds_waiting"]
    assert (waiting["status"], waiting["code"]) == ("queued", code)
    refund = expect(await shop.get(f"/v1/refunds/{waiting['refund']}"), 200)
    assert refund["waiting_code"] == (None if code == "worker" else code)


async def test_a_late_failure_and_a_barred_refund_are_warned_of_with_their_return(shop: ServedShop) -> None:
    failing = await shop.create_approved_return(card="pm_card_refundFail")
    await shop.receive_parcel(failing["id"], 3)
    barred = await shop.create_approved_return()
    await dispute(shop, barred)
    with capture_logs() as logs:
        await shop.receive_parcel(barred["id"])
        await shop.settle()
    warned = {(line["event"], line.get("return"), line.get("code")) for line in logs if line["log_level"] == "warning"}
    assert ("return.state_changed", failing["id"], "refund_failed") in warned
    assert ("refund.status_changed", failing["id"], "refund_failed") in warned
    assert "return.updated" in {event for event, return_id, _ in warned if return_id == barred["id"]}
    shown = await shop.read_return(failing["id"])
    assert shown["refunds_waiting"] == []
    assert shown["refunds"][0]["failure"].keys() >= {"code", "message", "stripe_code", "failure_reason", "advice"}


async def test_a_refund_that_was_withdrawn_has_a_failure_of_the_same_shape(shop: ServedShop) -> None:
    made = await shop.create_approved_return()
    await shop.receive_parcel(made["id"])
    (refund,) = (await shop.read_return(made["id"]))["refunds"]
    withdrawn = expect(await shop.post(f"/v1/refunds/{refund['id']}/cancel", {}), 200)
    assert withdrawn["status"] == "withdrawn"
    assert withdrawn["failure"]["code"] == "withdrawn"
    assert withdrawn["failure"]["stripe_code"] is withdrawn["failure"]["failure_reason"] is None


async def test_what_was_rolled_back_is_not_logged(shop: ServedShop) -> None:
    made = await shop.create_return()
    with capture_logs() as logs:
        expect(await shop.post(f"/v1/returns/{made['id']}/refund", {}), 409)
        expect(await shop.post(f"/v1/returns/{made['id']}/decline", {"reason": "Ada's secret"}), 200)
    (line,) = [line for line in logs if line["event"] == "return.state_changed"]
    assert (line["from"], line["to"], line["trigger"], line["by"][:4]) == ("requested", "declined", "decline", "key_")
    assert "secret" not in str(logs), "no words of people are logged"
