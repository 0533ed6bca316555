"""Disputes and inquiries, and what they do to refunds."""

from __future__ import annotations

import pytest

from returns_service.stripe_simulator import WrongMove
from tests.simulator.shop import Shop


@pytest.mark.parametrize(
    "card, reason",
    [
        ("pm_card_createDispute", "fraudulent"),
        ("pm_card_createDisputeProductNotReceived", "product_not_received"),
    ],
)
def test_a_disputed_card_brings_a_dispute_that_bars_refunds(shop: Shop, card: str, reason: str) -> None:
    intent = shop.pay(5000, card)
    assert shop.get("/v1/disputes")["data"] == []
    before = len(shop.ledger.events)
    shop.wait()
    (dispute,) = shop.get("/v1/disputes", {"payment_intent": intent["id"]})["data"]
    assert (dispute["reason"], dispute["status"], dispute["amount"]) == (reason, "needs_response", 5000)
    assert dispute["is_charge_refundable"] is False
    assert shop.charge(intent)["disputed"] is True
    assert shop.event_types(before) == ["charge.dispute.created", "charge.dispute.funds_withdrawn"]
    assert dispute["balance_transactions"][0]["amount"] == -5000
    error = shop.refused("/v1/refunds", {"payment_intent": intent["id"], "amount": 1})
    assert (error["code"], error["charge"]) == ("charge_disputed", intent["latest_charge"])


def test_a_dispute_fails_what_is_pending(shop: Shop) -> None:
    intent = shop.pay(card="pm_card_pendingRefund")
    refund = shop.refund(intent, 100)
    shop.dashboard.open_dispute(intent["id"])
    failed = shop.again(refund)
    assert (failed["status"], failed["failure_reason"]) == ("failed", "charge_for_pending_refund_disputed")
    shop.wait()
    assert shop.again(refund)["status"] == "failed"


def test_a_won_dispute_gives_the_money_and_the_refunds_back(shop: Shop) -> None:
    intent = shop.pay()
    dispute = shop.dashboard.open_dispute(intent["id"])
    before = len(shop.ledger.events)
    shop.dashboard.respond(dispute["id"])
    assert shop.again(dispute)["status"] == "under_review"
    shop.dashboard.win(dispute["id"])
    assert shop.event_types(before) == [
        "charge.dispute.updated", "charge.dispute.closed", "charge.dispute.funds_reinstated",
    ]  # fmt: skip
    assert (shop.again(dispute)["status"], shop.again(dispute)["is_charge_refundable"]) == ("won", True)
    assert shop.refund(intent)["status"] == "succeeded"


def test_a_lost_dispute_bars_refunds_for_good(shop: Shop) -> None:
    intent = shop.pay()
    dispute = shop.dashboard.open_dispute(intent["latest_charge"])
    shop.dashboard.lose(dispute["id"])
    assert shop.last_event("charge.dispute.closed")["data"]["object"]["status"] == "lost"
    assert shop.refused("/v1/refunds", {"payment_intent": intent["id"]})["code"] == "charge_disputed"
    with pytest.raises(WrongMove):
        shop.dashboard.win(dispute["id"])
    with pytest.raises(WrongMove):
        shop.dashboard.open_dispute(intent["id"])


def test_an_inquiry_holds_nothing_until_it_escalates(shop: Shop) -> None:
    intent = shop.pay(card="pm_card_createDisputeInquiry")
    shop.wait()
    (dispute,) = shop.get("/v1/disputes", {"charge": intent["latest_charge"]})["data"]
    assert (dispute["status"], dispute["is_charge_refundable"]) == ("warning_needs_response", True)
    assert dispute["balance_transactions"] == []
    assert shop.refund(intent, 100)["status"] == "succeeded"
    shop.dashboard.escalate(dispute["id"])
    assert shop.again(dispute)["status"] == "needs_response"
    assert shop.event_types()[-2:] == ["charge.dispute.updated", "charge.dispute.funds_withdrawn"]
    assert shop.refused("/v1/refunds", {"payment_intent": intent["id"]})["code"] == "charge_disputed"


def test_an_inquiry_can_be_closed(shop: Shop) -> None:
    intent = shop.pay()
    inquiry = shop.dashboard.open_inquiry(intent["id"])
    shop.dashboard.respond(inquiry["id"])
    shop.dashboard.win(inquiry["id"])
    assert shop.last_event("charge.dispute.closed")["data"]["object"]["status"] == "warning_closed"
    assert shop.dashboard.open_dispute(intent["id"])["status"] == "needs_response"


def test_a_fraud_warning_moves_nothing(shop: Shop) -> None:
    intent = shop.pay(card="pm_card_createIssuerFraudRecord")
    shop.wait()
    assert shop.event_types()[-1] == "radar.early_fraud_warning.created"
    assert shop.charge(intent)["disputed"] is False
    assert shop.refund(intent)["status"] == "succeeded"


def test_a_lost_dispute_can_be_won_later_and_the_other_way_round(shop: Shop) -> None:
    intent = shop.pay(5000)
    dispute = shop.dashboard.open_dispute(intent["id"])
    with pytest.raises(WrongMove):
        shop.dashboard.overturn(dispute["id"])
    shop.dashboard.lose(dispute["id"])
    before = len(shop.ledger.events)
    shop.dashboard.overturn(dispute["id"])
    assert (shop.again(dispute)["status"], shop.again(dispute)["is_charge_refundable"]) == ("won", True)
    assert shop.event_types(before) == ["charge.dispute.closed", "charge.dispute.funds_reinstated"]
    assert shop.refund(intent, 100)["status"] == "succeeded"
    shop.dashboard.move("overturn", dispute["id"])
    assert (shop.again(dispute)["status"], shop.again(dispute)["is_charge_refundable"]) == ("lost", False)
    assert shop.event_types()[-2:] == ["charge.dispute.closed", "charge.dispute.funds_withdrawn"]
    assert shop.refused("/v1/refunds", {"payment_intent": intent["id"]})["code"] == "charge_disputed"
    assert len(shop.ledger.disputes) == 1


def test_evidence_is_kept_and_submitted(shop: Shop) -> None:
    dispute = shop.dashboard.open_dispute(shop.pay()["id"])
    path = f"/v1/disputes/{dispute['id']}"
    kept = shop.post(path, {"evidence[product_description]": "hat", "submit": "false", "metadata[a]": "1"})
    assert (kept["status"], kept["evidence"]["product_description"]) == ("needs_response", "hat")
    assert (kept["evidence_details"]["has_evidence"], kept["evidence_details"]["submission_count"]) == (True, 0)
    assert kept["metadata"] == {"a": "1"}
    sent = shop.post(path, {"evidence[receipt]": "file_1"})
    assert (sent["status"], sent["evidence_details"]["submission_count"]) == ("under_review", 1)
    assert shop.event_types()[-2:] == ["charge.dispute.updated"] * 2
    assert shop.refused(path, {"evidence[receipt]": "file_2"})["code"] == "dispute_not_open"
    assert shop.refused(path, {"evidence[colour]": "red"})["param"] == "evidence[colour]"


def test_a_closed_dispute_is_lost(shop: Shop) -> None:
    dispute = shop.dashboard.open_dispute(shop.pay()["id"])
    path = f"/v1/disputes/{dispute['id']}/close"
    assert shop.post(path)["status"] == "lost"
    assert shop.event_types()[-1] == "charge.dispute.closed"
    assert shop.refused(path)["code"] == "dispute_not_open"


def test_an_authorization_that_was_never_captured_is_not_disputed(shop: Shop) -> None:
    shop.authorize(5000, payment_method="pm_card_createDispute")
    shop.wait()
    assert shop.get("/v1/disputes")["data"] == []
