"""What happens without the API: in the Dashboard, at the bank, at Stripe."""

from __future__ import annotations

import pytest

from returns_service.stripe_simulator import MOVES, Refusal, WrongMove
from tests.simulator.shop import Shop


def test_a_refund_by_hand_looks_like_any_other_but_for_its_request(shop: Shop) -> None:
    intent = shop.pay(5000)
    refund = shop.dashboard.refund(intent["id"], 700, "duplicate", {"by": "hand"})
    assert shop.again(refund)["metadata"] == {"by": "hand"}
    assert shop.last_event("charge.refunded")["request"]["id"] is None
    assert shop.dashboard.refund(intent["latest_charge"])["amount"] == 4300
    with pytest.raises(Refusal):
        shop.dashboard.refund(intent["id"], 1)


def test_a_pending_card_refund_is_canceled_unasked(shop: Shop) -> None:
    intent = shop.pay(card="pm_card_pendingRefund")
    refund = shop.refund(intent, 100)
    shop.dashboard.cancel(refund["id"])
    assert shop.again(refund)["status"] == "canceled"
    assert shop.again(refund)["failure_balance_transaction"].startswith("txn_")
    assert shop.charge(intent)["amount_refunded"] == 0


def test_a_bank_return_moves_a_refund_back_and_forth(shop: Shop) -> None:
    refund = shop.refund(shop.pay(), 100)
    for move, status in [
        ("require_action", "requires_action"), ("pend", "pending"), ("settle", "succeeded"),
        ("require_action", "requires_action"), ("settle", "succeeded"), ("fail", "failed"),
    ]:  # fmt: skip
        shop.dashboard.move(move, refund["id"])
        assert shop.again(refund)["status"] == status
        assert ("next_action" in shop.again(refund)) == (status == "requires_action")
    assert shop.get("/v1/balance")["available"][0]["amount"] == 0


def test_the_bank_reference_comes_by_an_update_that_leaves_the_status(shop: Shop) -> None:
    refund = shop.refund(shop.pay(), 100)
    shop.dashboard.set_arn(refund["id"], "74123456789012345678901")
    told = shop.last_event("refund.updated")["data"]
    assert told["object"]["status"] == "succeeded"
    assert told["object"]["destination_details"]["card"]["reference"] == "74123456789012345678901"
    assert set(told["previous_attributes"]) == {"destination_details"}


@pytest.mark.parametrize("status", ["pending", "requires_action", "succeeded", "failed", "canceled"])
def test_only_the_moves_on_offer_can_be_made(status: str) -> None:
    for move in ("settle", "fail", "cancel", "require_action", "pend"):
        shop = Shop()
        refund = shop.refund(shop.pay(card="pm_card_pendingRefund"), 100)
        way = {"pending": [], "requires_action": ["require_action"], "succeeded": ["settle"], "failed": ["fail"]}
        for step in way.get(status, ["cancel"]):
            shop.dashboard.move(step, refund["id"])
        if move in shop.dashboard.open_moves(shop.again(refund)):
            shop.dashboard.move(move, refund["id"])
        else:
            with pytest.raises(WrongMove, match=status):
                shop.dashboard.move(move, refund["id"])


def test_unknown_moves_and_objects_are_named(shop: Shop) -> None:
    with pytest.raises(LookupError, match="dance"):
        shop.dashboard.move("dance", "re_0")
    for move in ("settle", "open_dispute", "win", "emit_again", "repair"):
        with pytest.raises(LookupError, match="xx_0"):
            shop.dashboard.move(move, "xx_0")
    assert all(callable(getattr(shop.dashboard, move)) for move in MOVES)


def test_the_ledger_says_when_something_happens_next(shop: Shop) -> None:
    assert shop.ledger.next_move_at() is None
    refund = shop.refund(shop.pay(card="pm_card_pendingRefund"), 100)
    assert shop.ledger.next_move_at() == shop.at + 1
    assert [(move.what, move.name) for move in shop.ledger.list_moves()] == [("refund settles", refund["id"])]
    assert shop.ledger.make_due_moves() == 0
    shop.at += 1
    assert shop.ledger.make_due_moves() == 1
    assert shop.ledger.next_move_at() is None
