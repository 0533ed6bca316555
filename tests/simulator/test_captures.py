"""What follows an authorization, in today's API and in the one before 2025-03-31.basil."""

from __future__ import annotations

from typing import Any

import pytest

from returns_service.stripe_simulator import Settings, WrongMove
from tests.simulator.shop import Shop

OLD, BASIL = "2025-02-24.acacia", "2025-03-31.basil"


def releases(shop: Shop, intent: dict[str, Any]) -> list[tuple[int, str | None]]:
    """Return the refunds of `intent`: amount and reporting category of their balance transactions."""
    form = {"payment_intent": intent["id"], "expand[]": "data.balance_transaction"}
    rows = shop.get("/v1/refunds", form)["data"]
    return [(row["amount"], (row["balance_transaction"] or {}).get("reporting_category")) for row in rows]


def test_a_partial_capture_before_basil_leaves_a_refund_of_the_rest(shop: Shop) -> None:
    intent = shop.authorize(10_000, **{"metadata[refund_id]": "x"})
    before = len(shop.ledger.events)
    captured = shop.capture(intent, OLD, amount_to_capture=6000)
    assert (captured["status"], captured["amount_received"]) == ("succeeded", 6000)
    charge = shop.charge(captured)
    assert (charge["amount"], charge["amount_captured"], charge["amount_refunded"]) == (10_000, 6000, 4000)
    assert charge["refunded"] is False
    assert releases(shop, intent) == [(4000, "partial_capture_reversal")]
    (refund,) = shop.get("/v1/refunds")["data"]
    assert (refund["status"], refund["reason"], refund["metadata"]) == ("succeeded", None, {})
    assert shop.event_types(before) == [
        "charge.captured", "refund.created", "charge.refunded", "payment_intent.succeeded",
    ]  # fmt: skip
    lines = [row["amount"] for row in shop.ledger.balance_transactions]
    assert lines == [10_000, -4000]


@pytest.mark.parametrize("version", [BASIL, "2026-10-28.endive", ""])
def test_a_partial_capture_from_basil_on_leaves_no_refund(shop: Shop, version: str) -> None:
    captured = shop.capture(shop.authorize(10_000), version, amount_to_capture=6000)
    charge = shop.charge(captured)
    assert (charge["amount_captured"], charge["amount_refunded"]) == (6000, 0)
    assert releases(shop, captured) == []
    assert [row["amount"] for row in shop.ledger.balance_transactions] == [6000]


def test_without_a_version_the_accounts_own_decides() -> None:
    shop = Shop(api_version=OLD)
    assert Settings(api_version=OLD).api_version == OLD
    assert releases(shop, shop.capture(shop.authorize(10_000), amount_to_capture=6000)) == [
        (4000, "partial_capture_reversal")
    ]
    assert releases(shop, shop.capture(shop.authorize(10_000), BASIL, amount_to_capture=6000)) == []


def test_a_release_takes_nothing_from_what_can_be_refunded(shop: Shop) -> None:
    intent = shop.capture(shop.authorize(10_000), OLD, amount_to_capture=6000)
    assert shop.refused("/v1/refunds", {"payment_intent": intent["id"], "amount": 6001})["param"] == "amount"
    shop.refund(intent, 1000)
    assert shop.refund(intent)["amount"] == 5000
    charge = shop.charge(intent)
    assert (charge["amount_refunded"], charge["refunded"]) == (10_000, True)
    assert shop.refused("/v1/refunds", {"payment_intent": intent["id"]})["code"] == "charge_already_refunded"


def test_a_release_does_not_move(shop: Shop) -> None:
    shop.capture(shop.authorize(10_000), OLD, amount_to_capture=6000)
    (release,) = shop.get("/v1/refunds")["data"]
    assert shop.dashboard.open_moves(release) == []
    for move in ("fail", "set_arn", "require_action"):
        with pytest.raises(WrongMove):
            shop.dashboard.move(move, release["id"])


def test_the_dashboard_captures_in_any_version(shop: Shop) -> None:
    intent = shop.authorize(10_000)
    shop.dashboard.move("capture", intent["id"], amount=6000, api_version=OLD)
    assert releases(shop, intent) == [(4000, "partial_capture_reversal")]
    assert shop.last_event("charge.captured")["request"]["id"] is None


def test_a_multicapture_stays_open_until_all_is_captured(shop: Shop) -> None:
    intent = shop.authorize(10_000, "multicapture")
    before = len(shop.ledger.events)
    first = shop.capture(intent, amount_to_capture=3000, final_capture="false", **{"metadata[parcel]": "1"})
    assert (first["status"], first["amount_capturable"], first["amount_received"]) == ("requires_capture", 7000, 3000)
    assert first["metadata"] == {"parcel": "1"}
    assert shop.event_types(before) == [
        "charge.captured", "payment_intent.amount_capturable_updated", "charge.updated",
    ]  # fmt: skip
    assert shop.charge(first)["amount_captured"] == 3000
    assert shop.refused("/v1/refunds", {"payment_intent": intent["id"], "amount": 3001})["param"] == "amount"
    assert shop.refund(intent, 1000)["status"] == "succeeded"
    assert shop.charge(first)["refunded"] is False
    shop.refund(intent)
    assert shop.charge(first)["refunded"] is True
    second = shop.capture(intent, amount_to_capture=4000, final_capture="false")
    assert shop.charge(first)["refunded"] is False
    assert (second["status"], second["amount_received"]) == ("requires_capture", 7000)
    last = shop.capture(intent, amount_to_capture=2000)
    assert (last["status"], last["amount_received"], last["amount_capturable"]) == ("succeeded", 9000, 0)
    assert shop.event_types()[-3:] == ["charge.captured", "payment_intent.succeeded", "charge.updated"]
    assert shop.refund(intent)["amount"] == 6000


def test_only_a_payment_that_asked_for_it_is_captured_in_parts(shop: Shop) -> None:
    intent = shop.authorize(10_000)
    path = f"/v1/payment_intents/{intent['id']}/capture"
    assert shop.refused(path, {"amount_to_capture": 1, "final_capture": "false"})["param"] == "final_capture"
    assert shop.refused(path, {"amount_to_capture": 10_001})["code"] == "amount_too_large"


def test_a_canceled_authorization_releases_all(shop: Shop) -> None:
    intent = shop.authorize(10_000)
    before = len(shop.ledger.events)
    form = {"cancellation_reason": "requested_by_customer"}
    canceled = shop.post(f"/v1/payment_intents/{intent['id']}/cancel", form)
    assert (canceled["status"], canceled["amount_capturable"], canceled["canceled_at"]) == ("canceled", 0, int(shop.at))
    assert canceled["cancellation_reason"] == "requested_by_customer"
    charge = shop.charge(intent)
    assert (charge["amount_captured"], charge["amount_refunded"], charge["refunded"]) == (0, 0, False)
    assert shop.event_types(before) == ["payment_intent.canceled"]
    assert shop.refused(f"/v1/payment_intents/{intent['id']}/cancel")["code"] == "payment_intent_unexpected_state"
    shop.refused("/v1/refunds", {"payment_intent": intent["id"]})


def test_before_basil_a_canceled_authorization_is_a_refund_of_nothing_captured(shop: Shop) -> None:
    intent = shop.authorize(10_000)
    shop.post(f"/v1/payment_intents/{intent['id']}/cancel", version=OLD)
    charge = shop.charge(intent)
    assert (charge["amount_captured"], charge["amount_refunded"], charge["refunded"]) == (None, 10_000, True)
    told = shop.last_event("charge.refunded")["data"]["object"]
    assert (told["amount_captured"], told["captured"]) == (None, False)
    assert releases(shop, intent) == [(10_000, None)]
    shop.refused("/v1/refunds", {"payment_intent": intent["id"]})


@pytest.mark.parametrize("version, reason", [(OLD, "automatic"), (None, "expired")])
def test_an_authorization_expires(shop: Shop, version: str | None, reason: str) -> None:
    intent = shop.authorize(10_000)
    shop.dashboard.expire_authorization(intent["id"], version)
    assert shop.again(intent)["cancellation_reason"] == reason
    assert "charge.expired" in shop.event_types()
    reasons = [row["reason"] for row in shop.ledger.refunds]
    assert reasons == (["expired_uncaptured_charge"] if version == OLD else [])
    with pytest.raises(WrongMove):
        shop.dashboard.expire_authorization(intent["id"])


def test_an_unpaid_payment_is_updated_and_canceled(shop: Shop) -> None:
    intent = shop.post("/v1/payment_intents", {"amount": 900, "currency": "usd", "metadata[a]": "1"})
    path = f"/v1/payment_intents/{intent['id']}"
    form = {"amount": 950, "metadata[b]": "2", "description": "hat", "payment_method": "pm_card_visa"}
    updated = shop.post(path, form)
    assert (updated["amount"], updated["metadata"], updated["description"]) == (950, {"a": "1", "b": "2"}, "hat")
    assert updated["status"] == "requires_confirmation"
    assert shop.refused(path, {"amount": 1})["code"] == "amount_too_small"
    paid = shop.post(f"{path}/confirm")
    assert paid["amount_received"] == 950
    assert shop.post(path, {"metadata[b]": ""})["metadata"] == {"a": "1"}
    assert shop.refused(path, {"amount": 1000})["code"] == "payment_intent_unexpected_state"
    assert shop.refused(f"{path}/cancel")["code"] == "payment_intent_unexpected_state"
    other = shop.post("/v1/payment_intents", {"amount": 900, "currency": "usd"})
    assert shop.post(f"/v1/payment_intents/{other['id']}/cancel")["status"] == "canceled"


def test_an_authorization_is_incremented(shop: Shop) -> None:
    intent = shop.authorize(10_000, "incremental_authorization")
    path = f"/v1/payment_intents/{intent['id']}/increment_authorization"
    more = shop.post(path, {"amount": 12_000})
    assert (more["amount"], more["amount_capturable"]) == (12_000, 12_000)
    assert shop.charge(intent)["amount"] == 12_000
    assert shop.refused(path, {"amount": 12_000})["param"] == "amount"
    assert shop.capture(intent)["amount_received"] == 12_000
    plain = shop.authorize(10_000)
    shop.refused(f"/v1/payment_intents/{plain['id']}/increment_authorization", {"amount": 12_000})


def test_a_repaired_capture_keeps_the_version_of_its_call(shop: Shop) -> None:
    from returns_service.stripe_simulator import answer

    intent = shop.authorize(10_000)
    path = f"/v1/payment_intents/{intent['id']}/capture"
    answer(shop.ledger, shop.request("POST", path, {"amount_to_capture": 6000}, "k1", version=OLD), "before")
    shop.dashboard.repair("k1")
    assert releases(shop, intent) == [(4000, "partial_capture_reversal")]
