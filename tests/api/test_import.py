"""Open returns from elsewhere: taken over once, with the refunds of the past, which hold until somebody says whose."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from returns_service.cli.import_file import Record, read_records
from returns_service.cli.imports import Result, print_results, take_over
from returns_service.return_case.views import rfc3339
from returns_service.store.tables import ImportedReturn, Mail, Refund
from tests.harness.served_shop import ServedShop, expect

NEW = "Refunded before we came here."


def entry(payment: str, name: str = "A-1", **more: Any) -> dict[str, Any]:
    """Return an open return as a file's line."""
    line = {"sku": "SHIRT", "quantity": 3, "total_amount": 9000}
    return {"external_id": name, "order_id": f"NW-{name}", "payment_intent": payment, "currency": "usd",
            "lines": [line], **more}  # fmt: skip


async def take(
    shop: ServedShop, folder: Path, *entries: dict[str, Any], dry_run: bool = False, reason: str | None = None
) -> list[Result]:
    """Import a file of these lines."""
    file = folder / "open.jsonl"
    file.write_text("\n".join(json.dumps(one) for one in entries), encoding="utf-8")
    records = list(read_records(file, "jsonl"))
    assert all(isinstance(record, Record) for record in records), records
    shop.db.sends_mail = False
    chosen = [record for record in records if isinstance(record, Record)]
    return await take_over(shop.context, chosen, dry_run=dry_run, reason=reason)


async def test_open_returns_are_taken_over_once(shop: ServedShop, tmp_path: Path) -> None:
    asked, approved = entry(shop.pay()), entry(shop.pay(), "A-2", approved=True, tracking_numbers=["T-1"])
    first = await take(shop, tmp_path, asked, approved)
    assert [(one.outcome, one.state) for one in first] == [("imported", "requested"), ("imported", "approved")]
    again = await take(shop, tmp_path, asked, approved | {"tracking_numbers": ["T-2"]})
    assert [(one.outcome, one.return_id, one.state) for one in again] == [
        ("there_already", first[0].return_id, "requested"), ("changed", first[1].return_id, "approved"),
    ]  # fmt: skip
    assert (await shop.count_rows())["ReturnAuthorization"] == 2
    shown = await shop.read_return(str(first[1].return_id))
    assert (shown["order_id"], shown["tracking_numbers"]) == ("NW-A-2", ["T-1"])
    assert shown["approvals"][0]["override_reason"] == "Approved before it was imported."
    events = expect(await shop.get(f"/v1/returns/{shown['id']}/events"), 200)["data"]
    assert {event["actor"] for event in events} == {"import"}
    await shop.receive_parcel(shown["id"], 3)
    await shop.settle()
    assert (await shop.read_return(shown["id"]))["amount_refunded"] == 9000


async def test_a_dry_run_says_what_would_be_and_keeps_nothing(shop: ServedShop, tmp_path: Path) -> None:
    lines = [entry(shop.pay(), approved=True), entry("pi_nobody", "A-2")]
    tried = await take(shop, tmp_path, *lines, dry_run=True)
    assert [(one.outcome, one.state, one.code) for one in tried] == [
        ("imported", "approved", None), ("refused", None, "payment_missing"),
    ]  # fmt: skip
    assert {name: number for name, number in (await shop.count_rows()).items() if number} == {}
    assert [one.outcome for one in await take(shop, tmp_path, *lines)] == ["imported", "refused"]


async def test_what_is_refused_stops_no_other(shop: ServedShop, tmp_path: Path) -> None:
    unknown = entry(shop.pay(), "A-3", refunds=["re_none"])
    lines = [entry(shop.pay(100)), entry(shop.pay(currency="eur"), "A-2"), unknown, entry(shop.pay(), "A-4")]
    done = await take(shop, tmp_path, *lines)
    assert [(one.line, one.outcome, one.code) for one in done] == [
        (1, "refused", "amount_exceeds_payment"), (2, "refused", "currency_mismatch"),
        (3, "refused", "invalid_request"), (4, "imported", None),
    ]  # fmt: skip
    assert "refunds[0]: Stripe has no refund re_none of this payment" in str(done[2].message)
    assert (await shop.count_rows())["ReturnAuthorization"] == 1


async def test_refunds_of_the_past_count_as_paid(shop: ServedShop, tmp_path: Path) -> None:
    """What the file names is the return's; only the rest is refunded."""
    payment = shop.pay(9000)
    past = shop.dashboard.refund(payment, 3000)["id"]
    (done,) = await take(shop, tmp_path, entry(payment, approved=True, refunds=[past]))
    shown = await shop.read_return(str(done.return_id))
    assert (shown["state"], shown["amount_refunded"]) == ("approved", 3000)
    assert expect(await shop.get("/v1/desk"), 200)["data"] == []
    await shop.receive_parcel(shown["id"], 3)
    await shop.settle()
    shown = await shop.read_return(shown["id"])
    assert (shown["state"], shown["amount_refunded"]) == ("refunded", 9000)
    assert shop.at_stripe(payment) == 9000


async def test_a_refund_of_the_past_pays_one_return(shop: ServedShop, tmp_path: Path) -> None:
    """A second return that names it is refused: moved there, it would leave the first one to be paid again."""
    payment = shop.pay(20_000)
    past = shop.dashboard.refund(payment, 9000)["id"]
    first, second = entry(payment, refunds=[past, past]), entry(payment, "A-2", refunds=[past])
    done = await take(shop, tmp_path, first | {"approved": True}, second | {"approved": True})
    assert [(one.outcome, one.code) for one in done] == [("imported", None), ("refused", "refund_claimed")]
    assert f"refunds[0]: {past} has paid {done[0].return_id} already" in str(done[1].message)
    await shop.receive_parcel(str(done[0].return_id), 3)
    await shop.settle()
    shown = await shop.read_return(str(done[0].return_id))
    assert (shown["state"], shown["amount_refunded"], shop.at_stripe(payment)) == ("refunded", 9000, 9000)


async def test_units_that_were_counted_elsewhere_are_paid_once(shop: ServedShop, tmp_path: Path) -> None:
    """The other system counted and paid one of three units: the two that come here are paid, and no more."""
    payment = shop.pay(9000)
    past = shop.dashboard.refund(payment, 3000)["id"]
    line = {"sku": "SHIRT", "quantity": 3, "total_amount": 9000, "received_quantity": 1, "received_condition": "opened"}
    (done,) = await take(shop, tmp_path, entry(payment, approved=True, refunds=[past], lines=[line]))
    shown = await shop.read_return(str(done.return_id))
    assert (shown["state"], shown["amount_refunded"], shown["amount_due"]) == ("approved", 3000, 0)
    assert (shown["lines"][0]["received_quantity"], shown["lines"][0]["accepted_quantity"]) == (1, 1)
    await shop.receive_parcel(shown["id"], 2)
    await shop.settle()
    shown = await shop.read_return(shown["id"])
    assert (shown["state"], shown["amount_refunded"], shop.at_stripe(payment)) == ("refunded", 9000, 9000)


async def test_a_return_that_ended_elsewhere_keeps_its_units(shop: ServedShop, tmp_path: Path) -> None:
    """No unit of an order line is sent back here that came back there."""
    payment = shop.pay(9000)
    past = shop.dashboard.refund(payment, 6000)["id"]
    of_order = {"sku": "SHIRT", "order_line": "1", "quantity_ordered": 3}
    ended = {**of_order, "quantity": 2, "total_amount": 6000, "received_quantity": 2}
    (done,) = await take(shop, tmp_path, entry(payment, order_id="NW-1", approved=True, refunds=[past], lines=[ended]))
    assert done.state == "refunded"
    body = {"order_id": "NW-1", "payment_intent": payment, "currency": "usd"}
    for units, status in ((2, 422), (1, 201)):
        line = {**of_order, "quantity": units, "total_amount": 3000 * units}
        answer = await shop.post("/v1/returns", {**body, "lines": [line]})
        assert answer.status_code == status, answer.text
    assert shop.at_stripe(payment) == 6000


async def test_units_counted_elsewhere_and_not_paid_are_due_here(shop: ServedShop, tmp_path: Path) -> None:
    line = {"sku": "SHIRT", "quantity": 3, "total_amount": 9000, "received_quantity": 2}
    payments = [shop.pay(9000), shop.pay(9000)]
    waiting, approved = await take(
        shop, tmp_path, entry(payments[0], lines=[line]), entry(payments[1], "A-2", lines=[line], approved=True)
    )
    await shop.settle()
    assert [(one.state, shop.at_stripe(of)) for one, of in zip((waiting, approved), payments, strict=True)] == [
        ("requested", 0), ("refunding", 6000),
    ]  # fmt: skip
    expect(await shop.post(f"/v1/returns/{waiting.return_id}/approve"), 200)
    await shop.settle()
    assert shop.at_stripe(payments[0]) == 6000


async def test_the_window_is_judged_at_the_first_request(shop: ServedShop, tmp_path: Path, with_policy: Any) -> None:
    """Bought 40 days ago and asked for in time elsewhere: it is inside the window, and as old as it is."""
    with_policy(auto_approve_below={"usd": 20_000})
    bought, asked = (shop.time - timedelta(days=days) for days in (40, 20))
    times = {"purchased_at": bought.isoformat(), "requested_at": asked.isoformat()}
    late = {"purchased_at": bought.isoformat()}
    ahead = {"requested_at": (shop.time + timedelta(days=2)).isoformat()}
    done = await take(
        shop, tmp_path, entry(shop.pay(), **times), entry(shop.pay(), "A-2", **late), entry(shop.pay(), "A-3", **ahead)
    )
    assert [(one.state, one.code) for one in done] == [
        ("approved", None), ("requested", None), (None, "invalid_request"),
    ]  # fmt: skip
    shown = await shop.read_return(str(done[0].return_id))
    assert shown["created"] == rfc3339(asked)
    found = expect(await shop.get(f"/v1/returns?created[lt]={rfc3339(shop.time - timedelta(days=1))}"), 200)["data"]
    assert [one["id"] for one in found] == [shown["id"]]
    newest_first = expect(await shop.get("/v1/returns"), 200)["data"]
    assert [one["id"] for one in newest_first] == [done[1].return_id, shown["id"]]


@pytest.mark.parametrize("reason", [None, NEW])
async def test_other_refunds_of_the_past_hold_unless_they_are_acknowledged(
    shop: ServedShop, tmp_path: Path, reason: str | None
) -> None:
    payment = shop.pay(12_000)
    shop.dashboard.refund(payment, 1000)
    (done,) = await take(shop, tmp_path, entry(payment, approved=True), reason=reason)
    assert done.outcome == "imported"
    kinds = [item["kind"] for item in expect(await shop.get("/v1/desk"), 200)["data"]]
    assert kinds == ([] if reason else ["external_refund"])
    async with shop.db.reading() as tx:
        (refund,) = (await tx.exec(select(Refund))).all()
    assert (refund.source, refund.amount, refund.note) == ("external", 1000, reason)
    await shop.receive_parcel(str(done.return_id), 3)
    await shop.settle()
    assert (await shop.read_return(str(done.return_id)))["amount_refunded"] == (9000 if reason else 0)


async def test_a_payment_alone_is_taken_in_with_its_refunds(shop: ServedShop, tmp_path: Path) -> None:
    payment = shop.pay(9000)
    shop.dashboard.refund(payment, 4000)
    for _ in range(2):
        (done,) = await take(shop, tmp_path, {"payment_intent": payment}, reason=NEW)
        assert (done.outcome, done.return_id) == ("payment", None)
    shown = expect(await shop.get(f"/v1/payments/{payment}"), 200)
    assert (shown["refunded"], shown["refundable"]) == (4000, 5000)
    assert expect(await shop.get("/v1/desk"), 200)["data"] == []


async def test_two_imports_at_once_make_one_return(shop: ServedShop, tmp_path: Path) -> None:
    line = entry(shop.pay(30_000), approved=True)
    done = await asyncio.gather(*(take(shop, tmp_path, line) for _ in range(3)))
    assert (await shop.count_rows())["ReturnAuthorization"] == 1
    assert sorted(one.outcome for (one,) in done) == ["imported", "there_already", "there_already"]


async def test_stripe_away_ends_it_and_the_next_run_goes_on(
    shop: ServedShop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = entry(shop.pay()), entry(shop.pay(), "A-2")
    assert [one.outcome for one in await take(shop, tmp_path, first)] == ["imported"]
    shop.faults.arm("drop_before", count=20)
    with pytest.raises(SystemExit):
        await take(shop, tmp_path, first, second)
    assert "Run it again: it goes on where it stopped" in capsys.readouterr().err
    shop.faults.disarm()
    assert [one.outcome for one in await take(shop, tmp_path, first, second)] == ["there_already", "imported"]


async def test_the_other_systems_id_is_kept_as_a_digest_and_nobody_gets_mail(shop: ServedShop, tmp_path: Path) -> None:
    await take(shop, tmp_path, entry(shop.pay(), "mia@shop.test", customer_email="mia@shop.test"))
    async with shop.db.reading() as tx:
        (row,) = (await tx.exec(select(ImportedReturn))).all()
        assert (await tx.exec(select(Mail))).all() == []
    assert "mia" not in repr(row)


def test_people_read_what_needs_a_look_and_the_sum(capsys: pytest.CaptureFixture[str]) -> None:
    results = [
        Result(2, "imported", "A-1", "ret_1", "approved"),
        Result(3, "refused", "A-2", code="x", message="No such payment."),
        Result(4, "changed", "A-3", "ret_3", "requested"),
        Result(5, "payment"),
    ]
    counts = Counter(result.outcome for result in results)
    print_results(results, counts, dry_run=True)
    assert capsys.readouterr().out.splitlines() == [
        "line 3: refused: A-2 No such payment.",
        "line 4: there already, and the file changed since: A-3 ret_3",
        "Would be: 1 imported, 1 refused, 1 there already, and the file changed since, 1 payment taken in.",
    ]
    print_results([], Counter(), dry_run=False)
    assert capsys.readouterr().out == "nothing in it.\n"
