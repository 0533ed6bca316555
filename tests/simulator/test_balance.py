"""Balance transactions, and what a charge can be told."""

from __future__ import annotations

from tests.simulator.shop import Shop


def test_every_movement_is_a_balance_transaction(shop: Shop) -> None:
    intent = shop.pay(5000)
    refund = shop.refund(intent, 1200)
    shop.dashboard.fail(refund["id"])
    dispute = shop.dashboard.open_dispute(intent["id"])
    shop.dashboard.win(dispute["id"])
    rows = shop.get("/v1/balance_transactions")["data"]
    assert [(row["type"], row["reporting_category"], row["amount"]) for row in rows[::-1]] == [
        ("charge", "charge", 5000),
        ("refund", "refund", -1200),
        ("refund_failure", "refund_failure", 1200),
        ("adjustment", "dispute", -5000),
        ("adjustment", "dispute_reversal", 5000),
    ]
    assert shop.get(f"/v1/balance_transactions/{rows[0]['id']}") == rows[0]
    shop.refused("/v1/balance_transactions/txn_0", method="GET", status=404)


def test_balance_transactions_are_listed_by_source_type_and_currency(shop: Shop) -> None:
    intent, other = shop.pay(5000), shop.pay(700, currency="eur")
    refund = shop.refund(intent, 100)

    def amounts(**form: str) -> list[int]:
        return [row["amount"] for row in shop.get("/v1/balance_transactions", form)["data"]]

    assert amounts(source=intent["latest_charge"]) == [5000]
    assert amounts(source=refund["id"]) == [-100]
    assert amounts(type="charge") == [700, 5000]
    assert amounts(currency="eur") == [700]
    row = shop.get("/v1/balance_transactions", {"currency": "eur", "expand[]": "data.source"})["data"][0]
    assert row["source"]["id"] == other["latest_charge"]


def test_refunds_are_listed_with_their_balance_transactions(shop: Shop) -> None:
    refund = shop.refund(shop.pay(), 100)
    row = shop.get("/v1/refunds", {"expand[]": "data.balance_transaction"})["data"][0]
    assert row["balance_transaction"]["id"] == refund["balance_transaction"]
    assert row["balance_transaction"]["reporting_category"] == "refund"


def test_a_charge_is_updated(shop: Shop) -> None:
    intent = shop.pay()
    path = f"/v1/charges/{intent['latest_charge']}"
    changed = shop.post(path, {"description": "hat", "metadata[a]": "1", "fraud_details[user_report]": "fraudulent"})
    assert (changed["description"], changed["metadata"]) == ("hat", {"a": "1"})
    assert changed["fraud_details"] == {"user_report": "fraudulent"}
    assert shop.event_types()[-1] == "charge.updated"
    assert shop.refused(path, {"amount": 1})["code"] == "parameter_unknown"
