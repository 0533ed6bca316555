"""No secret reaches the log, and no customer."""

import sys
import traceback

from pydantic import SecretStr
from sqlalchemy.exc import IntegrityError

from returns_service.logs import mask, pattern_of, secrets_in, write_exception
from returns_service.settings import Settings
from returns_service.store.database import Database
from tests.factories import create_return

CUSTOMER = "mia@shop.test"


def test_secrets_and_api_keys_never_reach_the_log() -> None:
    stripe, ours, signing = "sk_test_" + "canary", "rsk_" + "c" * 43, "whsec_" + "c+/" * 14 + "c="
    event = mask(
        {"error": f"refused {stripe}, asked with {ours}, signed with {signing}", "count": 3}, pattern_of([stripe])
    )
    assert event == {"error": "refused ***, asked with rsk_***, signed with whsec_***", "count": 3}


def test_every_secret_of_the_settings_is_one_for_the_log() -> None:
    key, portal, sealing, mail = "sk_test_" + "canary", "portal " * 6, "sealing " * 6, "smtp://user:word@mail.test"
    settings = Settings(
        stripe_secret_key=SecretStr(key),
        portal_key=(SecretStr(portal), SecretStr(portal[:-1])),
        secrets_key=(SecretStr(sealing),),
        smtp=SecretStr(mail),
        mail_from="returns@shop.test",
    )
    known = secrets_in(settings)
    assert {key, portal, portal[:-1], sealing, mail} <= set(known)
    assert known.index(portal) < known.index(portal[:-1]), "else the rest of the longer one would be left"


async def test_a_row_that_the_database_refuses_is_not_quoted(database_url: str) -> None:
    database, raised = Database(database_url), None
    try:
        async with database.transaction() as tx:
            await create_return(tx, customer_email=CUSTOMER, state="nowhere")
    except IntegrityError:
        raised = sys.exc_info()
    await database.close()
    assert raised is not None
    written = write_exception(raised)
    assert CUSTOMER not in written
    assert "IntegrityError" in written
    assert CUSTOMER not in str(raised[1])
    if database.postgresql:
        assert CUSTOMER in "".join(traceback.format_exception(*raised)), "the driver's own words quote it"
