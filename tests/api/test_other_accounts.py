"""A7: an event of another Stripe account is no news of our payments."""

from __future__ import annotations

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from returns_service.settings import SettingsError, load
from returns_service.store.tables import StripeAccount
from returns_service.stripe_simulator import PERMISSIONS, build_key, signature_of
from returns_service.web.operations.ask_stripe import learn_account
from tests.harness.served_shop import ServedShop, expect
from tests.harness.shop import KEY, SECRET


async def tell(shop: ServedShop, payment: str, account: str | None) -> str:
    """Post a signed refund.created about a refund made in the Dashboard; return its outcome."""
    made = shop.dashboard.refund(payment, 1000)
    event: dict[str, Any] = {
        "id": f"evt_{made['id']}",
        "object": "event",
        "type": "refund.created",
        "created": int(shop.clock.unix()),
        "livemode": False,
        "data": {"object": made},
    }
    body = json.dumps(event | ({"account": account} if account else {})).encode()
    headers = {"Stripe-Signature": signature_of(body, SECRET, shop.clock.unix())}
    return str(expect(await shop.client.post("/webhooks/stripe", content=body, headers=headers), 200)["outcome"])


async def test_only_events_of_our_own_account_are_folded(shop: ServedShop) -> None:
    """A7: the account is learnt from the key."""
    payment = shop.pay()
    await shop.create_return(payment=payment)
    with capture_logs() as logs:
        assert await tell(shop, payment, "acct_somebody") == "ignored"
    assert any(line["event"] == "stripe_event.of_another_account" for line in logs)
    assert expect(await shop.get(f"/v1/payments/{payment}"), 200)["refunds"] == []
    assert await tell(shop, payment, shop.ledger.account_id) == "folded"
    assert await tell(shop, payment, None) == "folded"


async def test_a_key_that_may_not_tell_its_account_believes_none(shop: ServedShop) -> None:
    """A7: then it can be set; and that this key may not read it is nothing for the desk."""
    payment = shop.pay()
    await shop.create_return(payment=payment)
    shop.ledger.api_keys[KEY] = build_key([p for p in PERMISSIONS if "account" not in p])
    assert await tell(shop, payment, shop.ledger.account_id) == "ignored"
    assert expect(await shop.get("/v1/desk?kind=stripe_refuses"), 200)["data"] == []
    database, gateway = shop.db, shop.context.gateway
    assert await learn_account(database, gateway, shop.ledger.account_id) == shop.ledger.account_id
    assert await tell(shop, payment, shop.ledger.account_id) == "folded"


async def test_a_key_of_another_account_changes_what_is_kept(shop: ServedShop) -> None:
    """A7: the account in force is the one of the key in force."""
    database, gateway = shop.db, shop.context.gateway
    await learn_account(database, gateway, "acct_before")
    await learn_account(database, gateway, None)
    async with database.reading() as tx:
        assert (await tx.get_one(StripeAccount, 1)).account == shop.ledger.account_id


def test_another_id_than_an_accounts_is_refused() -> None:
    """A7."""
    with pytest.raises(SettingsError, match="STRIPE_ACCOUNT: must be the account's id"):
        load(stripe_account="sk_something")
