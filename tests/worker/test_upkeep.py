"""The books' commands as a person or a cron job runs them: what they print, and how they end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import delete
from sqlmodel import col, select

from returns_service.store.tables import Event, Refund, ReturnAuthorization
from returns_service.stripe_simulator import running
from tests.harness.process import Ended, run_to_end
from tests.harness.shop import KEY, SECRET, Shop

NOWHERE = "http://127.0.0.1:1"
SINCE = ("--since", "2026-11-01")  # the shop's clock stands on a day of its own


async def command(url: str, stripe: str, folder: Path, *words: str) -> Ended:
    """Run a command of the terminal against this database and this Stripe."""
    settings = {"STRIPE_SECRET_KEY": KEY, "STRIPE_WEBHOOK_SECRET": SECRET, "STRIPE_API_BASE": stripe}
    environment = {"HOME": str(folder), "DATABASE_URL": url, **settings}
    return await asyncio.to_thread(run_to_end, words, environment, folder)


async def test_reconcile_ends_with_1_while_anything_differs(shop: Shop, database_url: str, tmp_path: Path) -> None:
    lost = await shop.complete_refund()
    await shop.execute(delete(Event).where(col(Event.refund_id) == lost.id))
    await shop.execute(delete(Refund).where(col(Refund.id) == lost.id))
    async with running(shop.ledger) as stripe:
        found = await command(database_url, stripe, tmp_path, "reconcile", *SINCE)
        assert (found.code, found.err) == (1, "")
        assert "missing here" in found.out
        assert str(lost.stripe_refund) in found.out
        assert "--fix" in found.out
        fixed = await command(database_url, stripe, tmp_path, "reconcile", *SINCE, "--fix", "--json")
        assert fixed.code == 0, fixed.err
        said = fixed.json()
        assert (said["object"], said["status"], said["fix"], said["differs"]) == (
            "reconciliation",
            "finished",
            True,
            False,
        )
        assert said["counts"]["fixed"] == 1
        (row, *rest) = said["differences"]
        assert (row["code"], row["outcome"], row["refund"]) == ("missing_here", "fixed", lost.id)
        assert [other["code"] for other in rest] == ["not_rebuilt"] * len(rest)
        after = await command(database_url, stripe, tmp_path, "reconcile", *SINCE)
        assert after.code == 0
        assert "0 differing" in after.out


async def test_reconcile_says_that_stripe_is_silent_in_one_line(shop: Shop, database_url: str, tmp_path: Path) -> None:
    ended = await command(database_url, NOWHERE, tmp_path, "reconcile")
    assert ended.code == 1
    assert ended.out == ""
    assert ended.err.count("\n") == 1
    assert "goes on where it stopped" in ended.err


async def test_doctor_prints_one_document_whatever_it_meets(shop: Shop, database_url: str, tmp_path: Path) -> None:
    shop.faults.arm("503_html", method="GET", path="/v1/webhook_endpoints")  # a read that is repeated, and logged
    async with running(shop.ledger, shop.faults) as stripe:
        done = await command(database_url, stripe, tmp_path, "doctor", "--json")
    assert (done.json()["object"], done.err) == ("doctor", "")


@pytest.mark.parametrize("since", ["0001-01-01", "99999w"])
async def test_reconcile_looks_back_to_stripes_beginning_at_most(
    shop: Shop, database_url: str, tmp_path: Path, since: str
) -> None:
    async with running(shop.ledger) as stripe:
        ended = await command(database_url, stripe, tmp_path, "reconcile", "--since", since, "--json")
    assert ended.code == 0, ended.err
    assert ended.json()["since"] == "2010-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "words",
    [
        ["reconcile", "--since", "yesterday"],
        ["journal", "--since", "0001-01-01T00:00:00+14:00"],
        ["forget"],
        ["forget", "--order", "a", "--email", "b"],
    ],
)
async def test_what_cannot_be_meant_is_refused(sqlite_url: str, tmp_path: Path, words: list[str]) -> None:
    ended = await command(sqlite_url, NOWHERE, tmp_path, *words)
    assert ended.code != 0
    assert (ended.out, "Traceback" in ended.err, "DATABASE_URL" in ended.err) == ("", False, False)


async def test_forget_says_what_it_did_and_the_second_time_nothing(
    shop: Shop, database_url: str, tmp_path: Path
) -> None:
    return_id = await shop.authorize_return(
        shop.pay(9000), customer_email="anna@example.com", metadata={"phone": "0170"}
    )
    first = await command(database_url, NOWHERE, tmp_path, "forget", "--email", "anna@example.com", "--json")
    assert first.code == 0, first.err
    assert first.json()["returns"] == [return_id]
    second = await command(database_url, NOWHERE, tmp_path, "forget", "--order", "order_1", "--json")
    assert (second.code, second.json()["returns"], second.json()["redacted"]) == (0, [], {})
    assert (await shop.show_return(return_id))["customer_email"] is None


async def test_import_says_what_became_of_each_line(shop: Shop, database_url: str, tmp_path: Path) -> None:
    head = "external_id,order_id,payment_intent,currency,sku,quantity,total_amount,approved\n"
    rows = f"A-1,NW-1,{shop.pay(9000)},usd,SHIRT,1,9000,yes\nA-2,NW-2,pi_nobody,usd,SHIRT,1,9000,no\n"
    file = tmp_path / "open.csv"
    file.write_text(head + rows, encoding="utf-8")
    async with running(shop.ledger) as stripe:
        done = await command(database_url, stripe, tmp_path, "import", str(file), "--json")
    assert done.code == 1, "one is refused"
    said = done.json()
    assert (said["object"], said["dry_run"], said["counts"]) == ("import", False, {"imported": 1, "refused": 1})
    assert [(one["line"], one["external_id"], one["state"], one["code"]) for one in said["results"]] == [
        (2, "A-1", "approved", None), (3, "A-2", None, "payment_missing"),
    ]  # fmt: skip
    async with shop.db.reading() as tx:
        (made,) = (await tx.exec(select(ReturnAuthorization))).all()
    assert (made.id, made.order_id) == (said["results"][0]["return"], "NW-1")
