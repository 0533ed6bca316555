"""B6: secrets that must be read are sealed by a key that the database doesn't hold, and the key can be rotated."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from returns_service.commands.sealing import Sealing, look_at_sealing, seal_anew
from returns_service.commands.webhook_endpoints import create_endpoint, rotate_secret
from returns_service.store.database import Database
from returns_service.store.delivery_claims import signing_secrets
from returns_service.store.tables import WebhookEndpoint
from returns_service.store.vault import CannotOpen, Vault

OLD, NEW, STRIPES = b"the old key of all secrets", b"the new key of all secrets", b"a key of Stripe's"
SECRET = "whsec_c2VjcmV0"


def test_b6_what_is_sealed_is_opened_by_its_key_alone() -> None:
    sealed = Vault([OLD]).seal(SECRET)
    assert SECRET not in sealed
    assert Vault([OLD]).seal(SECRET) != sealed, "equal secrets don't look equal"
    assert Vault([NEW, OLD]).open(sealed) == SECRET
    for keys in ([], [NEW]):
        with pytest.raises(CannotOpen):
            Vault(keys).open(sealed)
    with pytest.raises(CannotOpen):
        Vault([OLD]).open(sealed[:-3])


def test_b6_only_what_the_first_key_sealed_is_current() -> None:
    vault = Vault([NEW, OLD])
    given = [vault.seal(SECRET), Vault([OLD]).seal(SECRET), SECRET]
    assert [vault.is_current(stored) for stored in given] == [True, False, False]
    assert Vault().is_current(SECRET), "without keys nothing can be sealed"


async def test_b6_a_webhook_secret_lies_sealed_and_signs_through_each_rotation(database: Database) -> None:
    """The key derived from Stripe\'s, then one of its own, then a newer one; the older ones go."""
    database.vault = Vault()
    async with database.transaction() as tx:
        row, plain = await create_endpoint(tx, "https://shop.test/hook", ["*"], None)
    endpoint_id, known = row.id, {plain}
    for keys in ([STRIPES], [OLD, STRIPES], [OLD], [NEW, OLD], [NEW]):
        database.vault = Vault(keys)
        async with database.transaction() as tx:
            await seal_anew(tx)
        async with database.transaction() as tx:
            _, secret = await rotate_secret(tx, endpoint_id)
            known.add(secret)
        async with database.reading() as tx:
            stored = repr((await tx.execute(text("SELECT * FROM webhook_endpoint"))).all())
            assert not [secret for secret in known if secret in stored]
            endpoint = await tx.get_one(WebhookEndpoint, endpoint_id)
            assert set(signing_secrets(endpoint, tx.now, database.vault)) == known
            assert await look_at_sealing(tx) == Sealing(len(known))


async def test_b6_a_lost_key_is_told_and_nothing_is_signed_wrongly(database: Database) -> None:
    database.vault = Vault([OLD])
    async with database.transaction() as tx:
        row, secret = await create_endpoint(tx, "https://shop.test/hook", ["*"], None)
    database.vault = Vault([NEW])
    async with database.transaction() as tx:
        assert await seal_anew(tx) == Sealing(1, 0, (row.id,))
        assert signing_secrets(await tx.get_one(WebhookEndpoint, row.id), tx.now, database.vault) == ()
    database.vault = Vault([NEW, OLD])  # it is found again
    async with database.transaction() as tx:
        assert (await seal_anew(tx)).outdated == 1
        assert signing_secrets(await tx.get_one(WebhookEndpoint, row.id), tx.now, database.vault) == (secret,)
        assert await look_at_sealing(tx) == Sealing(1)
