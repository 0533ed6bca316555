"""The wire: keys, forms, addresses, headers, limits."""

from __future__ import annotations

import pytest

from returns_service.stripe_simulator import Request, answer, enter, leave
from tests.simulator.shop import KEY, Shop, basic


@pytest.mark.parametrize("auth", [f"Bearer {KEY}", basic(KEY), f"bearer {KEY}", "Bearer rk_test_" + "limited"])
def test_secret_keys_of_a_sandbox_open(shop: Shop, auth: str) -> None:
    assert answer(shop.ledger, shop.request("GET", "/v1/account", auth=auth)).status == 200


@pytest.mark.parametrize(
    "auth", ["", "Bearer", "Bearer pk_test_" + "public", "Bearer sk_live_" + "real", "Basic !", f"Digest {KEY}"]
)
def test_other_keys_are_401(shop: Shop, auth: str) -> None:
    response = answer(shop.ledger, shop.request("POST", "/v1/payment_intents", auth=auth, key="k"))
    assert response.status == 401
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert not shop.ledger.keys.responses


def test_both_array_notations_say_the_same(shop: Shop) -> None:
    shop.refund(shop.pay(), 100)
    for form in (
        "types[]=refund.created&types[]=charge.succeeded",
        "types[0]=refund.created&types[1]=charge.succeeded",
    ):
        rows = shop.get("/v1/events", form)["data"]
        assert [row["type"] for row in rows] == ["refund.created", "charge.succeeded"]


@pytest.mark.parametrize(
    "form",
    ["a=1&a[b]=2", "expand[0][1]=x", "types=refund.created", "%FF=1&=", "metadata[a][b]=1", "&".join(["a=1"] * 1001)],
)
def test_a_crooked_form_is_refused(shop: Shop, form: str) -> None:
    shop.refused("/v1/refunds", form)


def test_a_body_that_is_not_utf8_is_refused(shop: Shop) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    assert answer(shop.ledger, Request("POST", "/v1/refunds", "", headers, b"amount=\xff")).status == 400


def test_every_answer_has_a_request_id_of_its_own(shop: Shop) -> None:
    seen = {shop.call("GET", path).headers["Request-Id"] for path in ("/v1/account", "/v1/nothing", "/v1/refunds/re_0")}
    assert len(seen) == 3
    assert all(name.startswith("req_") for name in seen)


def test_calls_past_the_rate_of_an_endpoint_are_429_and_not_stored(shop: Shop) -> None:
    intent = shop.pay()
    shop.ledger.settings.rate_limit = 2
    form = {"payment_intent": intent["id"], "amount": 1}
    assert [shop.call("POST", "/v1/refunds", form, f"k{n}").status for n in range(4)] == [200, 200, 429, 429]
    response = shop.call("POST", "/v1/refunds", form, "k9")
    assert response.headers["Stripe-Rate-Limited-Reason"] == "endpoint-rate"
    assert response.json()["error"]["code"] == "rate_limit"
    assert shop.call("GET", "/v1/refunds").status == 200
    shop.wait(1)
    again = shop.call("POST", "/v1/refunds", form, "k9")
    assert (again.status, "Idempotent-Replayed" in again.headers) == (200, False)


def test_a_key_in_flight_is_409_until_its_request_is_answered(shop: Shop) -> None:
    request = shop.request("POST", "/v1/refunds", {"payment_intent": shop.pay()["id"]}, "k1")
    assert enter(shop.ledger, request) is None
    second = enter(shop.ledger, request)
    assert second is not None
    assert (second.status, second.json()["error"]["code"]) == (409, "idempotency_key_in_use")
    assert answer(shop.ledger, request).status == 409
    leave(shop.ledger, request)
    assert answer(shop.ledger, request).status == 200


def test_parallel_refunds_of_one_charge_meet_its_lock_if_asked_for(shop: Shop) -> None:
    intent, other = shop.pay(), shop.pay()
    by_intent = shop.request("POST", "/v1/refunds", {"payment_intent": intent["id"], "amount": 1}, "k1")
    by_charge = shop.request("POST", "/v1/refunds", {"charge": intent["latest_charge"], "amount": 1}, "k2")
    another = shop.request("POST", "/v1/refunds", {"payment_intent": other["id"], "amount": 1}, "k3")
    assert enter(shop.ledger, by_intent) is None
    assert enter(shop.ledger, by_charge) is None
    leave(shop.ledger, by_charge)
    leave(shop.ledger, by_intent)
    shop.ledger.settings.lock_timeouts = True
    assert enter(shop.ledger, by_intent) is None
    assert enter(shop.ledger, another) is None
    locked = enter(shop.ledger, by_charge)
    assert locked is not None
    assert (locked.status, locked.json()["error"]["code"]) == (429, "lock_timeout")
    assert "Stripe-Rate-Limited-Reason" not in locked.headers
    leave(shop.ledger, by_intent)
    assert enter(shop.ledger, by_charge) is None
