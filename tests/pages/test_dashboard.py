"""The dashboard: each figure is of its days, its currency and nothing else; what is shown is what is exported."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest

from returns_service.commands.refund_rate import judge_refund_rate
from returns_service.domain.vocabulary import Role
from returns_service.store.ids import first_id
from returns_service.store.tables import Payment, ReturnAuthorization
from tests.factories import (
    create_charge_total,
    create_payment,
    create_receipt,
    create_receipt_line,
    create_refund,
    create_return,
    create_return_line,
    create_sweep,
)
from tests.harness.served_shop import ServedShop
from tests.harness.shop import BY
from tests.pages.conftest import Desk, add_person
from tests.pages.world import HOSTILE

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)  # the tests' clock


async def open_dashboard(shop: ServedShop, desk: Desk, query: str = "", role: Role = "finance") -> str:
    await add_person(shop, role)
    await desk.sign_in(f"{role}@shop.test")
    answer = await desk.get(f"/dashboard{query}")
    assert answer.status_code == 200, answer.text
    return answer.text


async def exported(desk: Desk, file: str, query: str = "") -> list[dict[str, str]]:
    answer = await desk.get(f"/dashboard/{file}{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text)))


async def refunded(tx: Any, at: datetime, amount: int, *, row: ReturnAuthorization | None = None, **more: Any) -> None:
    """Leave a refund that Stripe made then."""
    payment = await tx.get_one(Payment, row.payment_id) if row else await create_payment(tx)
    name = tx.new_id("re")
    values = {"status": "succeeded", "stripe_refund": name, "stripe_created_at": at, "amount": amount,
              "return_id": row.id if row else None, "source": "return" if row else "external", **more}  # fmt: skip
    await create_refund(tx, payment, due_in_seconds=None, **values)


async def charged(tx: Any, at: datetime, amount: int, currency: str = "usd") -> None:
    await create_charge_total(tx, begins_at=at.replace(minute=0), currency=currency, amount=amount)


async def counted_all(tx: Any) -> None:
    """Say that all charges of half a year are known."""
    await create_sweep(tx, name="charges", cursor=NOON.isoformat(), next_at=NOON)
    await create_sweep(tx, name="charges_past", cursor=(NOON - timedelta(days=190)).isoformat(), next_at=NOON)


async def came_back(
    tx: Any, row: ReturnAuthorization, sku: str, units: int, *, at: datetime = NOON, reason: str | None = None,
    title: str | None = None, condition: str = "new", **receipt: Any,
) -> None:  # fmt: skip
    """Leave units of a SKU that the dock counted then; three of it cost 100.00."""
    line = await create_return_line(tx, row, sku=sku, reason=reason, title=title)
    count = await create_receipt(tx, row, id=first_id("rcp", at)[:-8] + tx.new_id("x")[-8:], **receipt)
    await create_receipt_line(tx, count, line, quantity=units, condition=condition)


def kpi(page: str, name: str) -> str:
    """Return a figure and its comparison as text."""
    found = re.search(rf"<dt>{name}</dt>(.*?)</div>", page, re.DOTALL)
    assert found is not None
    return " ".join(re.sub(r"<[^>]+>", " ", found[1]).split())


async def test_before_the_first_return_it_says_what_will_appear(shop: ServedShop, desk: Desk) -> None:
    page = await open_dashboard(shop, desk)
    assert "Nothing in these days" in page
    assert '<svg class="gut"' not in page


async def test_a_period_stands_beside_the_one_before_in_one_currency(shop: ServedShop, desk: Desk) -> None:
    async with shop.db.transaction() as tx:
        await counted_all(tx)
        for days, amount in ((0, 1000), (29, 2000), (30, 4000), (59, 8000), (60, 16_000)):
            await refunded(tx, NOON - timedelta(days=days), amount)
        await refunded(tx, NOON, 500, currency="eur")
        await refunded(tx, NOON, 700, status="failed")
        await refunded(tx, NOON, 900, status="succeeded", stripe_created_at=None)  # settled outside
        await charged(tx, NOON - timedelta(days=1), 30_000)
        await charged(tx, NOON - timedelta(days=31), 60_000)
        await charged(tx, NOON - timedelta(days=1), 999_999, "eur")
    page = await open_dashboard(shop, desk, "?days=30")
    assert kpi(page, "Refunded") == "30.00 USD 2 refunds; 30 days before: 120.00 USD"
    assert kpi(page, "Refund rate") == "10.0 % of 300.00 USD ; before: 20.0 %"
    rows = await exported(desk, "rate.csv", "?days=30&currency=usd")
    assert len(rows) == 30
    assert (rows[0]["day"], rows[-1]["day"]) == ("2026-11-24", "2026-10-26")
    assert sum(float(row["refunded"]) for row in rows) == 30.0
    page = (await desk.get("/dashboard?days=30&currency=eur")).text
    assert kpi(page, "Refunded") == "5.00 EUR 1 refund; 30 days before: 0.00 EUR"
    assert "USD" not in page.replace(">USD</option>", "")


@pytest.mark.parametrize(
    "zone, moment, day",
    [
        ("America/New_York", "2026-11-24T04:59:00+00:00", "2026-11-23"),
        ("America/New_York", "2026-11-24T05:00:00+00:00", "2026-11-24"),
        ("America/New_York", "2026-11-01T04:00:00+00:00", "2026-11-01"),  # the day on which clocks are turned
        ("America/New_York", "2026-11-02T04:59:59+00:00", "2026-11-01"),
        ("America/New_York", "2026-11-02T05:00:00+00:00", "2026-11-02"),
        ("Asia/Kathmandu", "2026-11-20T18:15:00+00:00", "2026-11-21"),
        ("UTC", "2026-11-20T23:59:59+00:00", "2026-11-20"),
    ],
)
async def test_days_are_those_of_the_policys_zone(
    shop: ServedShop, desk: Desk, zone: str, moment: str, day: str
) -> None:
    shop.context.policy = replace(shop.context.policy, time_zone=zone)
    at = datetime.fromisoformat(moment)
    async with shop.db.transaction() as tx:
        await counted_all(tx)
        await refunded(tx, at, 1000)
        await create_charge_total(tx, begins_at=at.replace(second=0, minute=at.minute // 15 * 15), amount=4000)
    page = await open_dashboard(shop, desk)
    assert f"days in {zone}" in page
    rows = await exported(desk, "rate.csv")
    assert [(row["day"], row["refunded"], row["captured"], row["rate"]) for row in rows if row["rate"]] == [
        (day, "10.00", "40.00", "0.2500")
    ]


async def test_charges_that_are_not_counted_yet_are_not_taken_for_none(shop: ServedShop, desk: Desk) -> None:
    async with shop.db.transaction() as tx:
        await refunded(tx, NOON, 1000)
    page = await open_dashboard(shop, desk)
    assert "not counted yet" in page
    assert kpi(page, "Refund rate") == "not known before: not known"
    async with shop.db.transaction() as tx:
        await create_sweep(tx, name="charges", cursor=(NOON - timedelta(minutes=5)).isoformat(), next_at=NOON)
        await create_sweep(tx, name="charges_past", cursor=(NOON - timedelta(days=3)).isoformat(), next_at=NOON)
        await charged(tx, NOON - timedelta(hours=1), 10_000)
    rows = await exported(desk, "rate.csv", "?days=7")
    assert [row["captured"] for row in rows] == ["100.00", "0.00", "0.00", "", "", "", ""]
    assert [row["rate"] for row in rows] == ["0.1000", "", "", "", "", "", ""]


async def test_a_day_above_the_limit_is_named_and_drawn(shop: ServedShop, desk: Desk) -> None:
    async with shop.db.transaction() as tx:
        await counted_all(tx)
        for days, amount in ((1, 1500), (2, 1000)):
            await refunded(tx, NOON - timedelta(days=days), amount)
            await charged(tx, NOON - timedelta(days=days), 10_000)
    page = await open_dashboard(shop, desk)
    assert page.count('<rect class="over"') == 1, "at the line is not above it"
    assert "23 Nov 2026</time> went over the alert line: 15.0 %, the line is 10 %" in page
    assert "15.0 % above" in page
    assert "Alert line 10 %" in page


async def test_what_is_open_shows_by_state_and_age_whenever_it_was_asked_for(shop: ServedShop, desk: Desk) -> None:
    async with shop.db.transaction() as tx:
        await refunded(tx, NOON, 100)
        for state, days in (("requested", 0), ("approved", 5), ("approved", 20), ("failed", 400), ("refunded", 1)):
            row = await create_return(tx, state=state, created_at=NOON - timedelta(days=days), shipping_amount=500)
            await create_return_line(tx, row)
        other = await create_return(tx, await create_payment(tx, currency="eur"), state="approved")
        await create_return_line(tx, other)
    page = await open_dashboard(shop, desk, "?days=7&currency=usd")
    assert kpi(page, "Open returns") == "4 now; 2 older than 14 days"
    money = {row["state"]: row["value"] for row in await exported(desk, "money.csv", "?days=7&currency=usd")}
    assert money == {"Requested": "105.00", "Approved": "210.00", "Refunding": "0.00", "Failed": "105.00",
                     "Refunded": "1.00"}  # fmt: skip
    ages = [row["returns"] for row in await exported(desk, "ages.csv", "?days=7&currency=usd")]
    assert ages == ["1", "1", "0", "1", "1"]


async def test_reasons_and_skus_are_of_what_the_dock_counted(shop: ServedShop, desk: Desk) -> None:
    async with shop.db.transaction() as tx:
        row = await create_return(tx, reason="damaged")
        await came_back(tx, row, "KETTLE", 3, title="Kettle")
        await came_back(tx, row, "KETTLE", 1, reason="too_small", title="Kettle")
        await came_back(tx, row, HOSTILE[:60], 2, reason=HOSTILE, title=HOSTILE)
        await came_back(tx, row, "=cmd()", 1)
        await came_back(tx, row, "LOST", 3, condition="missing")
        await came_back(tx, row, "UNDONE", 3, reversed_at=NOON)
        await came_back(tx, row, "OLD", 3, at=NOON - timedelta(days=8))
        await came_back(tx, await create_return(tx), "MUG", 1)
    page = await open_dashboard(shop, desk, "?days=7")
    assert "<img" not in page
    assert "<bdi>Kettle</bdi></a><small" in page
    reasons = {row["reason"]: row["units"] for row in await exported(desk, "reasons.csv", "?days=7")}
    assert reasons == {"Arrived damaged": "4", "In other words": "2", "Too small": "1", "None given": "1"}
    skus = await exported(desk, "skus.csv", "?days=7")
    assert [(row["sku"], row["reason"], row["units"], row["paid"]) for row in skus] == [
        ("KETTLE", "Arrived damaged", "4", "133.33"),
        (HOSTILE[:60], "In other words", "2", "66.66"),
        ("'=cmd()", "Arrived damaged", "1", "33.33"),
        ("MUG", "None given", "1", "33.33"),
    ]


async def test_waits_run_from_the_request_to_stripes_refund(shop: ServedShop, desk: Desk) -> None:
    async with shop.db.transaction() as tx:
        for days in (1, 2, 4):
            row = await create_return(tx, created_at=NOON - timedelta(days=days))
            await refunded(tx, NOON, 100, row=row)
        await refunded(tx, NOON, 100)
        row = await create_return(tx, created_at=NOON - timedelta(days=47))
        await refunded(tx, NOON - timedelta(days=40), 100, row=row)
    page = await open_dashboard(shop, desk, "?days=30")
    assert kpi(page, "Request to refund") == "2.0 days half are faster; before: 7.0 days"
    newest = (await exported(desk, "waits.csv", "?days=30"))[0]
    assert newest == {"from": "2026-11-23", "refunds": "3", "half_days": "2.0", "nine_of_ten_days": "4.0"}


async def test_tables_say_what_the_files_say(shop: ServedShop, desk: Desk) -> None:
    async with shop.db.transaction() as tx:
        await counted_all(tx)
        await refunded(tx, NOON, 123_456)
        await charged(tx, NOON, 1_000_000)
    page = await open_dashboard(shop, desk, "?days=7")
    table = re.search(r"<caption class=\"sr\">Refund rate by day</caption>.*?</table>", page, re.DOTALL)
    assert table is not None
    shown = [re.sub(r"<[^>]+>", "|", row) for row in re.findall(r"<tr>.*?</tr>", table[0], re.DOTALL)[1:]]
    rows = await exported(desk, "rate.csv", "?days=7")
    assert len(shown) == len(rows) == 7
    assert "24 Nov 2026, so far" in shown[0]
    assert "1,234.56 USD" in shown[0]
    assert rows[0] == {"day": "2026-11-24", "refunded": "1234.56", "captured": "10000.00", "rate": "0.1235"}
    links = set(re.findall(r'href="/dashboard/(\w+\.csv)\?([^"]+)"', page))
    assert {file for file, _ in links} == {"rate.csv", "money.csv", "ages.csv", "reasons.csv", "waits.csv", "skus.csv"}
    assert {query for _, query in links} == {"days=7&amp;currency=usd"}


@pytest.mark.parametrize(
    "query, days, said",
    [
        ("?from=2026-11-01&to=2026-11-10", 10, ""),
        ("?from=2026-11-24", 1, ""),
        ("?from=2026-10-26&to=2026-11-24", 30, ""),
        ("?days=90", 90, ""),
        ("?days=13", 30, ""),
        ("?from=2026-11-11&to=2026-11-10", 30, "Choose a first day that is not after the last one."),
        ("?from=2026-11-11&to=2026-11-25", 30, "Choose a last day that is not ahead."),
        ("?from=2024-11-11&to=2026-11-10", 30, "Choose at most 366 days."),
        ("?from=0001-01-01&to=0001-01-02", 30, "Choose at most 366 days."),
        ("?from=yesterday", 30, "Choose a first and a last day."),
        ("?to=2026-11-10", 30, "Choose a first and a last day."),
    ],
)
async def test_own_ends_stand_in_the_address(shop: ServedShop, desk: Desk, query: str, days: int, said: str) -> None:
    async with shop.db.transaction() as tx:
        await create_return(tx)
    page = await open_dashboard(shop, desk, query)
    assert len(await exported(desk, "rate.csv", query)) == days
    assert ('role="alert"' in page) == bool(said)
    assert said in page
    if said:
        for name, typed in parse_qsl(query[1:]):
            assert f'name="{name}" type="date" value="{typed}"' in page, "what was typed stays"


@pytest.mark.parametrize("role, place", [("finance", True), ("approver", True), ("admin", True), ("warehouse", False)])
async def test_it_has_its_place_for_those_who_may_see_it(shop: ServedShop, desk: Desk, role: Role, place: bool) -> None:
    await add_person(shop, role)
    await desk.sign_in(f"{role}@shop.test")
    assert ('href="/dashboard"' in (await desk.get("/")).text) == place


async def test_the_desk_tells_of_a_day_above_the_limit_and_leads_here(shop: ServedShop, desk: Desk) -> None:
    async with shop.db.transaction() as tx:
        await refunded(tx, NOON, 2000, currency="eur")
        await charged(tx, NOON, 10_000, "eur")
        await counted_all(tx)
        assert await judge_refund_rate(tx, BY, shop.policy) == 1
    await add_person(shop, "finance")
    await desk.sign_in("finance@shop.test")
    page = (await desk.get("/refunds?kind=refund_rate")).text
    assert "20.00 EUR of 100.00 EUR charged (20.0%) was refunded on 24 Nov 2026 (UTC)" in page
    assert 'href="/dashboard?currency=eur"' in page


async def test_a_file_there_is_not_is_not_found(shop: ServedShop, desk: Desk) -> None:
    async with shop.db.transaction() as tx:
        await refunded(tx, NOON, 100)
    await open_dashboard(shop, desk)
    assert (await desk.get("/dashboard/nothing.csv")).status_code == 404
