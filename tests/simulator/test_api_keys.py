"""API keys: expired, unknown and restricted ones, and the account they belong to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from returns_service.stripe_simulator import Response, answer, build_key
from tests.simulator.shop import Shop

LIMITED = "rk_test_" + "limited1234567890"


def call(shop: Shop, method: str, path: str, form: dict[str, object] | None = None, secret: str = LIMITED) -> Response:
    """Call with the key `secret`."""
    return answer(shop.ledger, shop.request(method, path, form, "k1", auth=f"Bearer {secret}"))


@pytest.mark.parametrize(
    "method, path, permission",
    [
        ("GET", "/v1/payment_intents/pi_0", "rak_payment_intent_read"),
        ("POST", "/v1/payment_intents", "rak_payment_intent_write"),
        ("GET", "/v1/charges", "rak_charge_read"),
        ("GET", "/v1/refunds", "rak_charge_read"),
        ("POST", "/v1/refunds", "rak_charge_write"),
        ("GET", "/v1/disputes", "rak_dispute_read"),
        ("GET", "/v1/events", "rak_event_read"),
        ("GET", "/v1/balance_transactions", "rak_balance_read"),
        ("GET", "/v1/account", "rak_connected_account_read"),
        ("GET", "/v1/webhook_endpoints", "rak_webhook_read"),
    ],
)
def test_a_restricted_key_hears_which_permission_it_lacks(shop: Shop, method: str, path: str, permission: str) -> None:
    shop.ledger.api_keys[LIMITED] = build_key([])
    response = call(shop, method, path)
    error = response.json()["error"]
    assert (response.status, error["type"]) == (403, "invalid_request_error")
    assert f"Having the '{permission}' permission would allow this request to continue." in error["message"]
    assert shop.ledger.account_id in error["message"]
    assert LIMITED not in error["message"]
    assert not shop.ledger.keys.responses
    shop.ledger.api_keys[LIMITED] = build_key([permission])
    assert call(shop, method, path).status != 403


def test_write_includes_read(shop: Shop) -> None:
    shop.ledger.api_keys[LIMITED] = build_key(["rak_charge_write"])
    assert call(shop, "GET", "/v1/refunds").status == 200


def test_an_expanded_object_needs_its_own_permission(shop: Shop) -> None:
    shop.refund(shop.pay(), 100)
    shop.ledger.api_keys[LIMITED] = build_key(["rak_charge_read", "rak_payment_intent_read"])
    form: dict[str, object] = {"expand[]": "data.balance_transaction"}
    response = call(shop, "GET", "/v1/refunds", form)
    assert (response.status, "rak_balance_read" in response.json()["error"]["message"]) == (403, True)
    assert call(shop, "GET", "/v1/refunds").status == 200
    shop.ledger.api_keys[LIMITED] = build_key(["rak_charge_read", "rak_balance_read"])
    assert call(shop, "GET", "/v1/refunds", form).status == 200
    deep: dict[str, object] = {"expand[]": "data.latest_charge.refunds.data.balance_transaction"}
    shop.ledger.api_keys[LIMITED] = build_key(["rak_payment_intent_read", "rak_charge_read"])
    assert call(shop, "GET", "/v1/payment_intents", deep).status == 403


@pytest.mark.parametrize("status, code", [("expired", "api_key_expired"), ("unknown", None)])
def test_an_expired_or_unknown_key_is_a_401(shop: Shop, status: str, code: str | None) -> None:
    shop.ledger.api_keys[LIMITED] = build_key(status=status)
    response = call(shop, "GET", "/v1/refunds")
    assert (response.status, response.json()["error"].get("code")) == (401, code)
    assert LIMITED not in response.body.decode()


def test_a_foreign_account_is_a_403(shop: Shop) -> None:
    request = shop.request("GET", "/v1/refunds")
    own = replace(request, headers={**request.headers, "stripe-account": shop.ledger.account_id})
    assert answer(shop.ledger, own).status == 200
    foreign = replace(request, headers={**request.headers, "stripe-account": "acct_other"})
    response = answer(shop.ledger, foreign)
    assert (response.status, response.json()["error"]["code"]) == (403, "account_invalid")
    assert "acct_other" in response.json()["error"]["message"]


def test_nonsense_is_no_key() -> None:
    with pytest.raises(ValueError, match="rak_dance_read"):
        build_key(["rak_dance_read"])
    with pytest.raises(ValueError, match="sleepy"):
        build_key(status="sleepy")
