"""What the policy says of a return and a refund, as the API lets it be seen and holds to it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from returns_service.domain.policy import DEFAULT, Reason, to_dict
from returns_service.domain.vocabulary import STRIPE_REASONS
from tests.harness.served_shop import ServedShop, expect, return_body


async def test_the_policy_in_force_can_be_read(shop: ServedShop, with_policy: Any) -> None:
    """B7: `GET /v1/policy` tells catalogue and rules in force."""
    assert expect(await shop.get("/v1/policy"), 200) == {"object": "policy", **to_dict(DEFAULT)}
    with_policy(window_days=14, reasons={"itchy": Reason("It itches", "duplicate")})
    read = expect(await shop.get("/v1/policy"), 200)
    assert (read["window_days"], read["time_zone"], read["window_from"]) == (14, "UTC", "purchase")
    assert read["reasons"] == {"itchy": {"label": "It itches", "stripe": "duplicate", "restocking": True}}


async def test_a_misspelt_reason_of_a_refund_is_refused_with_the_list(shop: ServedShop) -> None:
    """B7: `becuase` was quietly Stripe's `requested_by_customer`."""
    made = await shop.create_approved_return()
    await shop.receive_parcel(made["id"])
    payment = shop.pay()
    for path, body in (
        ("/v1/refunds", {"payment_intent": payment, "amount": 100}),
        (f"/v1/returns/{made['id']}/refund", {"amount": 100, "override_reason": "x"}),
    ):
        before = await shop.count_rows()
        problem = expect(await shop.post(path, body | {"reason": "becuase"}), 422, "unknown_reason")
        assert problem["param"] == "reason"
        assert sorted(problem["reasons"]) == sorted([*DEFAULT.reasons, *STRIPE_REASONS])
        assert await shop.count_rows() == before


async def test_a_reason_of_the_catalogue_is_told_to_stripe_as_the_policy_says(
    shop: ServedShop, with_policy: Any
) -> None:
    """B7: the catalogue's word is mapped, Stripe's own goes as it is, free words are the note's."""
    with_policy(reasons={"twice": Reason("Bought twice", "duplicate")})
    payment = shop.pay()
    body: dict[str, Any] = {"payment_intent": payment, "amount": 100, "note": "Ann called."}
    for reason, stripe in (("twice", "duplicate"), ("fraudulent", "fraudulent"), (None, None)):
        refund = expect(await shop.post("/v1/refunds", body | ({"reason": reason} if reason else {})), 202)
        assert (refund["reason"], refund["note"]) == (stripe, "Ann called.")
    expect(await shop.post("/v1/refunds", body | {"reason": "too_small"}), 422, "unknown_reason")
    await shop.work()
    assert sorted(str(refund["reason"]) for refund in shop.ledger.refunds) == ["None", "duplicate", "fraudulent"]


async def test_a_word_added_to_the_catalogue_later_serves_older_returns(shop: ServedShop, with_policy: Any) -> None:
    """B7: `GET /v1/policy` tells the catalogue in force, so its words are taken beside those of the snapshot."""
    made = await shop.create_approved_return()
    await shop.receive_parcel(made["id"], 1)
    with_policy(reasons={"twice": Reason("Bought twice", "duplicate")})
    where = f"/v1/returns/{made['id']}/refund"
    await shop.settle()
    more: dict[str, Any] = {"amount": 100, "override_reason": "Promised."}
    assert expect(await shop.post(where, more | {"reason": "twice"}), 202)["reason"] == "duplicate"
    await shop.settle()
    assert expect(await shop.post(where, more | {"reason": "too_small"}), 202)["reason"] == "requested_by_customer"


async def test_refunds_and_retries_take_a_note(shop: ServedShop) -> None:
    """B7: `note` on the return's refund, the standalone refund and both retries."""
    made = await shop.create_approved_return(quantity=1, card="pm_card_refundFail")
    where = f"/v1/returns/{made['id']}"
    expect(
        await shop.post(f"{where}/refund", {"amount": 500, "override_reason": "Promised.", "note": "By phone."}), 202
    )
    await shop.settle()
    (failed,) = (await shop.read_return(made["id"]))["refunds"]
    assert (failed["status"], failed["note"], failed["reason"]) == ("failed", "By phone.", "requested_by_customer")
    again = expect(await shop.post(f"{where}/retry", {"note": "New card."}), 202)
    assert again["note"] == "New card."
    await shop.settle()
    assert expect(await shop.post(f"/v1/refunds/{again['id']}/retry", {}), 202)["note"] == "New card."
    body = {"payment_intent": shop.pay(card="pm_card_refundFail"), "reason": "damaged"}
    alone = expect(await shop.post("/v1/refunds", body), 202)
    assert (alone["note"], alone["breakdown"][0]["description"]) == (None, "damaged")
    await shop.settle()
    retried = expect(await shop.post(f"/v1/refunds/{alone['id']}/retry", {"note": "Once more."}), 202)
    assert (retried["note"], retried["reason"]) == ("Once more.", "requested_by_customer")


async def test_an_approver_who_takes_long_costs_nobody_a_return(shop: ServedShop, with_policy: Any) -> None:
    """B5: asked in time, the second approval after midnight: judged at the request."""
    with_policy(window_days=2, second_person_above={"usd": 1})
    bought = (shop.time - timedelta(days=2)).isoformat()
    made = await shop.create_return(purchased_at=bought)
    late = await shop.create_return(purchased_at=(shop.time - timedelta(days=3)).isoformat())
    shop.advance(3 * 86_400)
    approve = {"note": "Fine."}
    expect(await shop.post(f"/v1/returns/{late['id']}/approve", approve), 422, "policy_violation")
    assert expect(await shop.post(f"/v1/returns/{made['id']}/approve", approve), 200)["state"] == "requested"
    shop.client.headers["Authorization"] = f"Bearer {await shop.create_key('returns:approve')}"
    assert expect(await shop.post(f"/v1/returns/{made['id']}/approve", approve), 200)["state"] == "approved"


async def test_the_window_may_begin_with_the_delivery(shop: ServedShop, with_policy: Any) -> None:
    """B5: `delivered_at` at creation; without it nothing approves itself."""
    with_policy(window_from="delivery", auto_approve_below={"usd": 5000})
    now = shop.time.replace(microsecond=0)
    old = (now - timedelta(days=300)).isoformat()
    body = return_body(shop.pay(), 1000, purchased_at=old, delivered_at=now.isoformat())
    made = expect(await shop.post("/v1/returns", body), 201)
    assert (made["state"], datetime.fromisoformat(made["delivered_at"])) == ("approved", now)
    assert (await shop.create_return(1000, purchased_at=now.isoformat()))["state"] == "requested"


@pytest.mark.parametrize("name", ["purchased_at", "delivered_at"])
async def test_a_time_ahead_by_more_than_a_day_is_refused(shop: ServedShop, name: str) -> None:
    """B5: `purchased_at` 2099 was approved by itself."""
    for time in ("2099-01-01T00:00:00Z", (shop.time + timedelta(hours=25)).isoformat()):
        problem = expect(
            await shop.post("/v1/returns", return_body(shop.pay(), 1000, 1, **{name: time})), 422, "invalid_request"
        )
        assert (problem["param"], problem["errors"][0]["param"]) == (name, name)
    near = (shop.time + timedelta(hours=23)).isoformat()
    expect(await shop.post("/v1/returns", return_body(shop.pay(), 1000, 1, **{name: near})), 201)
