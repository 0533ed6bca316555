"""Whose account the Stripe key is of: an event of another account says nothing of our payments."""

from __future__ import annotations

import structlog

from returns_service.domain.stripe_objects import StripeEventData
from returns_service.store.database import Tx, insert_ignore
from returns_service.store.tables import StripeAccount

log = structlog.get_logger("returns.inbox")


async def keep_account(tx: Tx, account: str) -> None:
    """Keep the account's id (`acct_…`) for all processes."""
    await insert_ignore(tx, StripeAccount, {"id": 1, "account": account, "learnt_at": tx.now})
    row = await tx.get_one(StripeAccount, 1, with_for_update=True)
    if row.account != account:
        log.warning("stripe.account_changed", before=row.account, account=account)
        row.account, row.learnt_at = account, tx.now


async def is_of_another_account(tx: Tx, event: StripeEventData) -> bool:
    """Return whether an event names an account that isn't ours; events of the key's own account name none.

    Where our account isn't known, a named one is taken for another: https://docs.stripe.com/connect/webhooks.
    """
    if event.account is None:
        return False
    ours = await tx.get(StripeAccount, 1)
    if ours is not None and ours.account == event.account:
        return False
    ours_id = ours.account if ours else None
    log.warning("stripe_event.of_another_account", stripe_event=event.id, account=event.account, ours=ours_id)
    return True
