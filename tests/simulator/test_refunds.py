"""Creating, reading, updating and canceling refunds; what Stripe refuses, and in which words."""

from __future__ import annotations

import pytest

from tests.simulator.shop import Shop


def test_a_refund_defaults_to_all_that_is_left(shop: Shop) -> None:
    intent = shop.pay(5000)
    shop.refund(intent, 1200)
    rest = shop.refund(intent)
    assert (rest["amount"], rest["status"], rest["charge"]) == (3800, "succeeded", intent["latest_charge"])
    charge = shop.charge(intent)
    assert (charge["amount_refunded"], charge["refunded"]) == (5000, True)


def test_a_refund_of_a_charge_names_its_payment(shop: Shop) -> None:
    intent = shop.pay()
    assert shop.post("/v1/refunds", {"charge": intent["latest_charge"]})["payment_intent"] == intent["id"]


def test_fields_without_anything_to_say_are_absent(shop: Shop) -> None:
    refund = shop.refund(shop.pay(), 100)
    absent = "failure_reason failure_balance_transaction description next_action pending_reason instructions_email"
    assert not set(absent.split()) & set(refund)
    assert refund["destination_details"]["card"]["type"] == "refund"
    assert refund["reason"] is refund["receipt_number"] is refund["transfer_reversal"] is None


def test_refunding_more_than_is_left_has_a_param_and_no_code(shop: Shop) -> None:
    intent = shop.pay(5000)
    shop.refund(intent, 1200)
    error = shop.refused("/v1/refunds", {"payment_intent": intent["id"], "amount": 3801})
    assert error["message"] == (
        "Refund amount ($38.01) is greater than unrefunded amount on charge ($38.00)"
    )  # fmt: skip
    assert (error["param"], error["type"]) == ("amount", "invalid_request_error")
    assert "code" not in error


def test_amounts_are_worded_in_their_currency(shop: Shop) -> None:
    yen = shop.pay(500, currency="jpy")
    message = shop.refused("/v1/refunds", {"payment_intent": yen["id"], "amount": 501})["message"]
    assert "(¥501)" in message
    dinar = shop.pay(1500, currency="kwd")
    assert "(KWD 1.510)" in shop.refused("/v1/refunds", {"payment_intent": dinar["id"], "amount": 1510})["message"]


def test_a_charge_refunded_in_full_says_so(shop: Shop) -> None:
    intent = shop.pay()
    shop.refund(intent)
    error = shop.refused("/v1/refunds", {"payment_intent": intent["id"], "amount": 1})
    assert (error["code"], error["charge"]) == ("charge_already_refunded", intent["latest_charge"])


def test_a_payment_that_took_no_money_is_not_refunded(shop: Shop) -> None:
    intent = shop.post("/v1/payment_intents", {"amount": 900, "currency": "usd"})
    error = shop.refused("/v1/refunds", {"payment_intent": intent["id"]})
    assert error["message"].endswith("does not have a successful charge to refund.")
    for param in ("payment_intent", "charge"):
        assert shop.refused("/v1/refunds", {param: "xx_0"}, status=404)["param"] == param


@pytest.mark.parametrize(
    "form, param, code",
    [
        ({}, None, "parameter_missing"),
        ({"payment_intent": "pi_0", "charge": "ch_0"}, None, "parameters_exclusive"),
        ({"payment_intent": "pi_0", "amount": 0}, "amount", "parameter_invalid_integer"),
        ({"payment_intent": "pi_0", "amount": -5}, "amount", "parameter_invalid_integer"),
        ({"payment_intent": "pi_0", "reason": "bored"}, "reason", None),
        ({"payment_intent": "pi_0", "note": "x"}, "note", "parameter_unknown"),
        ({"payment_intent": "pi_0", "reverse_transfer": "true"}, "reverse_transfer", None),
        ({"payment_intent": "pi_0", "metadata": "x"}, "metadata", None),
        ({"payment_intent": "pi_0", f"metadata[{'k' * 41}]": "v"}, f"metadata[{'k' * 41}]", None),
        ({"payment_intent": "pi_0", "metadata[k]": "v" * 501}, "metadata[k]", None),
        ({"payment_intent": "pi_0"} | {f"metadata[{n}]": "v" for n in range(51)}, "metadata", None),
    ],
)
def test_bad_parameters_are_named(shop: Shop, form: dict[str, object], param: str | None, code: str | None) -> None:
    error = shop.refused("/v1/refunds", form)
    assert (error.get("param"), error.get("code")) == (param, code)


def test_metadata_at_its_limits_is_kept(shop: Shop) -> None:
    given = {f"{n:040}": "v" * 500 for n in range(50)}
    refund = shop.refund(shop.pay(), 100, **{f"metadata[{key}]": value for key, value in given.items()})
    assert refund["metadata"] == given


@pytest.mark.parametrize("reason", ["duplicate", "fraudulent", "requested_by_customer"])
def test_reasons_come_back(shop: Shop, reason: str) -> None:
    assert shop.refund(shop.pay(), 100, reason=reason)["reason"] == reason


def test_an_update_changes_metadata_key_by_key_and_nothing_else(shop: Shop) -> None:
    refund = shop.refund(shop.pay(), 100, **{"metadata[a]": "1", "metadata[b]": "2"})
    path = f"/v1/refunds/{refund['id']}"
    assert shop.post(path, {"metadata[b]": "3", "metadata[c]": "4"})["metadata"] == {"a": "1", "b": "3", "c": "4"}
    assert shop.last_event("refund.updated")["data"]["previous_attributes"] == {"metadata": {"b": "2", "c": None}}
    assert shop.post(path, {"metadata[a]": ""})["metadata"] == {"b": "3", "c": "4"}
    assert shop.post(path, {"metadata": ""})["metadata"] == {}
    assert shop.refused(path, {"amount": 5})["code"] == "parameter_unknown"
    before = len(shop.ledger.events)
    shop.post(path, {})
    assert len(shop.ledger.events) == before


def test_a_pending_refund_settles_later(shop: Shop) -> None:
    intent = shop.pay(card="pm_card_pendingRefund")
    refund = shop.refund(intent, 100)
    assert (refund["status"], refund["pending_reason"]) == ("pending", "processing")
    assert shop.charge(intent)["amount_refunded"] == 100
    before = len(shop.ledger.events)
    shop.wait(0.5)
    assert shop.again(refund)["status"] == "pending"
    shop.wait(0.5)
    settled = shop.again(refund)
    assert settled["status"] == "succeeded"
    assert "pending_reason" not in settled
    assert shop.event_types(before) == ["refund.updated", "charge.refund.updated"]


def test_a_succeeded_refund_can_fail_later_and_frees_its_money(shop: Shop) -> None:
    intent = shop.pay(5000, "pm_card_refundFail")
    refund = shop.refund(intent)
    assert (refund["status"], shop.charge(intent)["refunded"]) == ("succeeded", True)
    before = len(shop.ledger.events)
    shop.wait()
    failed = shop.again(refund)
    assert (failed["status"], failed["failure_reason"]) == ("failed", "expired_or_canceled_card")
    assert failed["failure_balance_transaction"].startswith("txn_")
    assert shop.charge(intent)["amount_refunded"] == 0
    assert shop.charge(intent)["refunded"] is False
    assert shop.event_types(before) == ["refund.failed", "refund.updated", "charge.refund.updated"]
    assert shop.refund(intent, 5000)["amount"] == 5000


def test_a_failure_may_come_without_an_update() -> None:
    shop = Shop(failed_sends_updated=False)
    shop.refund(shop.pay(card="pm_card_refundFail"))
    before = len(shop.ledger.events)
    shop.wait()
    assert shop.event_types(before) == ["refund.failed", "charge.refund.updated"]


def test_pending_money_counts_against_what_is_left(shop: Shop) -> None:
    intent = shop.pay(5000, "pm_card_pendingRefund")
    shop.refund(intent, 4000)
    assert shop.refused("/v1/refunds", {"payment_intent": intent["id"], "amount": 1001})["param"] == "amount"


def test_only_a_refund_that_requires_action_is_canceled_by_the_api(shop: Shop) -> None:
    intent = shop.pay(card="pm_card_pendingRefund")
    refund = shop.refund(intent, 100)
    shop.refused(f"/v1/refunds/{refund['id']}/cancel")
    shop.dashboard.require_action(refund["id"])
    assert shop.again(refund)["next_action"]["type"] == "display_details"
    before = len(shop.ledger.events)
    canceled = shop.post(f"/v1/refunds/{refund['id']}/cancel")
    assert (canceled["status"], canceled["failure_reason"]) == ("canceled", "merchant_request")
    assert "next_action" not in canceled
    assert shop.event_types(before) == ["refund.updated", "charge.refund.updated"]
    assert shop.charge(intent)["amount_refunded"] == 0
    shop.wait()
    assert shop.again(refund)["status"] == "canceled"


def test_with_a_short_balance_refunds_wait_for_money() -> None:
    shop = Shop(balance="short_waits")
    refund = shop.refund(shop.pay(), 100)
    assert (refund["status"], refund["pending_reason"]) == ("pending", "insufficient_funds")
    assert refund["balance_transaction"] is None
    shop.wait(1000)
    assert shop.again(refund)["status"] == "pending"
    shop.dashboard.fill_balance()
    shop.wait()
    settled = shop.again(refund)
    assert settled["status"] == "succeeded"
    assert settled["balance_transaction"] is not None


def test_with_a_short_balance_refunds_may_be_refused() -> None:
    shop = Shop(balance="short_refuses")
    intent = shop.pay()
    assert shop.refused("/v1/refunds", {"payment_intent": intent["id"]})["code"] == "balance_insufficient"
    shop.dashboard.fill_balance()
    assert shop.refund(intent)["status"] == "succeeded"


def test_refunds_are_listed_newest_first_by_payment_charge_and_time(shop: Shop) -> None:
    first, second = shop.pay(), shop.pay()
    names = []
    for intent in (first, second, first):
        names.append(shop.refund(intent, 10)["id"])
        shop.wait(10)

    def listed(**form: object) -> list[str]:
        return [row["id"] for row in shop.get("/v1/refunds", form)["data"]]

    assert listed() == names[::-1]
    assert listed(payment_intent=first["id"]) == [names[2], names[0]]
    assert listed(charge=second["latest_charge"]) == [names[1]]
    assert listed(charge=second["latest_charge"], payment_intent=first["id"]) == []
    at = shop.ledger.refunds[names[1]]["created"]
    assert listed(**{"created[gte]": at}) == [names[2], names[1]]
    assert listed(**{"created[gt]": at}) == [names[2]]
    assert listed(**{"created[lte]": at}) == [names[1], names[0]]
    assert listed(**{"created[lt]": at}) == [names[0]]
    assert listed(created=at) == [names[1]]
    shop.refused("/v1/refunds", {"payment_intent": "pi_0"}, method="GET", status=404)
    shop.refused("/v1/refunds", {"metadata[a]": "1"}, method="GET")


def test_cursors_walk_all_pages_both_ways(shop: Shop) -> None:
    intent = shop.pay()
    names = [shop.refund(intent, 1)["id"] for _ in range(25)][::-1]
    seen: list[str] = []
    page = shop.get("/v1/refunds")
    while True:
        seen += [row["id"] for row in page["data"]]
        if not page["has_more"]:
            break
        page = shop.get("/v1/refunds", {"starting_after": seen[-1], "payment_intent": intent["id"]})
    assert seen == names
    back = shop.get("/v1/refunds", {"ending_before": names[20], "limit": 5})
    assert [row["id"] for row in back["data"]] == names[15:20]
    assert back["has_more"] is True
    assert shop.get("/v1/refunds", {"ending_before": names[3]})["has_more"] is False
    for form in ({"limit": 0}, {"limit": 101}, {"limit": "x"}, {"starting_after": "a", "ending_before": "b"}):
        shop.refused("/v1/refunds", form, method="GET")
    shop.refused("/v1/refunds", {"starting_after": "re_0"}, method="GET", status=404)
