"""The desk over HTTP and on the command line: pages, filters, hostile words; figures that a watch can go by."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import update

from returns_service.cli import operator
from returns_service.commands import stripe_inbox
from returns_service.domain.policy import DEFAULT
from returns_service.domain.stripe_objects import StripeEventData
from returns_service.domain.vocabulary import DESK_KINDS
from returns_service.return_case.events import Actor
from returns_service.store.tables import StripeEvent
from returns_service.web.metrics import Metrics
from returns_service.worker.charges import count_charges
from returns_service.worker.deliveries import WebhookDispatcher
from returns_service.worker.loop import Worker
from returns_service.worker.missed_events import pull_missed_events
from returns_service.worker.reconcile import reconcile
from returns_service.worker.refunds import RefundExecutor
from tests.api.test_openapi import wrong
from tests.harness.counting import counting
from tests.harness.patience import complete, wait_for
from tests.harness.served_shop import ServedShop, expect
from tests.readme import README

HOSTILE = "<script>alert(1)</script> \x1b[2J\u202e [bold]{{7*7}}"


async def failed(shop: ServedShop, number: int = 1, **more: Any) -> list[str]:
    """Return refunds that failed, the oldest first."""
    for _ in range(number):
        made = await shop.create_approved_return(quantity=1, card="pm_card_refundFail", **more)
        await shop.receive_parcel(made["id"])
        await shop.settle()
        shop.advance(1)
    listed = expect(await shop.get("/v1/refunds?status=failed&limit=100"), 200)
    return [row["id"] for row in listed["data"]][::-1]


async def refunds_on(shop: ServedShop, query: str = "") -> list[str]:
    return [item["refund"] for item in expect(await shop.get(f"/v1/desk{query}"), 200)["data"]]


async def test_it_is_as_the_contract_says_and_every_action_it_names_works(shop: ServedShop) -> None:
    (refund,) = await failed(shop)
    page = expect(await shop.get("/v1/desk"), 200)
    assert wrong("desk_item_list", page) == []
    assert (page["object"], page["url"], page["has_more"]) == ("list", "/v1/desk", False)
    (item,) = page["data"]
    assert list(page["totals"]) == list(DESK_KINDS)
    assert page["totals"] == dict.fromkeys(DESK_KINDS, 0) | {"refund_failed": 1}
    assert "retry" in item["actions"]
    expect(await shop.post(f"/v1/refunds/{item['refund']}/retry"), 202)
    assert expect(await shop.get("/v1/desk"), 200)["data"] == []
    expect(await shop.post(f"/v1/refunds/{refund}/acknowledge", {"reason": "x"}), 409, "refund_not_second")


async def test_a_second_refund_is_acknowledged_once(shop: ServedShop) -> None:
    first = expect(await shop.post("/v1/refunds", {"payment_intent": (payment := shop.pay()), "amount": 500}), 202)
    await shop.settle()
    shop.dashboard.refund(payment, 500, metadata={"refund_id": first["id"]})
    await shop.deliver()
    (item,) = expect(await shop.get("/v1/desk"), 200)["data"]
    assert (item["kind"], item["actions"]) == ("payment_overpaid", ["acknowledge"])
    where = f"/v1/refunds/{item['refund']}/acknowledge"
    expect(await shop.post(where, {}), 422, "invalid_request")
    answer = expect(await shop.post(where, {"reason": "Kept as goodwill."}), 200)
    assert (answer["status"], answer["note"], answer["duplicate_of"]) == ("succeeded", "Kept as goodwill.", first["id"])
    expect(await shop.post(where, {"reason": "Again."}), 409, "refund_superseded")
    assert expect(await shop.get("/v1/desk"), 200)["data"] == []


async def test_pages_lead_through_the_desk_both_ways(shop: ServedShop) -> None:
    all_of_them = await failed(shop, 5)
    assert await refunds_on(shop) == all_of_them
    seen: list[str] = []
    cursor = ""
    while True:
        page = expect(await shop.get(f"/v1/desk?limit=2{cursor}"), 200)
        seen += [item["refund"] for item in page["data"]]
        if not page["has_more"]:
            break
        cursor = f"&starting_after={page['data'][-1]['id']}"
    assert seen == all_of_them
    last = page["data"][-1]["id"]
    back = expect(await shop.get(f"/v1/desk?limit=3&ending_before={last}"), 200)
    assert ([item["refund"] for item in back["data"]], back["has_more"]) == (all_of_them[1:4], True)


async def test_a_kind_is_shown_alone_and_all_are_counted(shop: ServedShop) -> None:
    (refund,) = await failed(shop)
    assert await refunds_on(shop, "?kind=refund_failed") == [refund]
    page = expect(await shop.get("/v1/desk?kind=refund_pending"), 200)
    assert (page["data"], page["totals"]["refund_failed"]) == ([], 1)


@pytest.mark.parametrize(
    "query", ["kind=lost", "limit=0", "starting_after=x", "ending_before=refund_failed:rfd_1", "state=failed"]
)
async def test_what_is_not_meant_is_said_so(shop: ServedShop, query: str) -> None:
    problem = expect(await shop.get(f"/v1/desk?{query}"), 422)
    assert problem["param"] == query.partition("=")[0]


async def test_a_longer_desk_needs_no_more_queries(shop: ServedShop) -> None:
    async def queries() -> int:
        with counting(shop) as seen:
            expect(await shop.get("/v1/desk?limit=100"), 200)
        return seen["statements"]

    await failed(shop)
    few = await queries()
    await failed(shop, 5)
    assert await queries() == few == 4, "the key, two for the desk, and one for all about its returns"


async def with_a_hostile_event(shop: ServedShop) -> None:
    now = shop.db.now()
    news = StripeEventData("evt_1", "refund.updated", now, False, None, None, "{}", unreadable=HOSTILE)
    await shop.db.run(lambda tx: stripe_inbox.store_and_fold(tx, Actor("stripe"), DEFAULT, news, livemode=False))
    async with shop.db.transaction() as tx:
        await tx.execute(update(StripeEvent).values(attempts=5))


async def test_a_strangers_words_come_out_as_json_and_nothing_else(shop: ServedShop) -> None:
    await failed(shop, order_id=HOSTILE.replace("\x1b", ""))
    await with_a_hostile_event(shop)
    answer = await shop.get("/v1/desk")
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert b"\x1b" not in answer.content
    refund, stripe_event = answer.json()["data"]
    assert refund["order_id"] == HOSTILE.replace("\x1b", "")
    assert HOSTILE in stripe_event["message"]


async def printed(url: str, monkeypatch: pytest.MonkeyPatch, *words: str) -> Result:
    """Run `returns-service desk`, in a thread: a command has a loop of its own."""
    monkeypatch.setenv("DATABASE_URL", url)
    return await asyncio.to_thread(CliRunner().invoke, operator.desk, list(words))


async def test_the_command_ends_with_1_while_anything_waits(
    shop: ServedShop, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = await printed(database_url, monkeypatch)
    assert (empty.exit_code, empty.stdout) == (0, "Nothing waits for a person.\n")
    old, young = await failed(shop, 2)
    shown = await printed(database_url, monkeypatch)
    assert shown.exit_code == 1
    first, second = shown.stdout.splitlines()
    assert first.startswith("refund_failed\t")
    assert old in first
    assert young in second
    assert "10000 usd" in first
    assert "retry, settle_outside" in first
    cut = await printed(database_url, monkeypatch, "--limit", "1")
    assert (len(cut.stdout.splitlines()), cut.stderr) == (1, "More wait: 2 refund_failed\n")
    told = json.loads((await printed(database_url, monkeypatch, "--json")).stdout)
    assert told["data"] == expect(await shop.get("/v1/desk"), 200)["data"]
    other = await printed(database_url, monkeypatch, "--kind", "refund_pending")
    assert other.exit_code == 0
    assert (await printed(database_url, monkeypatch, "--kind", "lost")).exit_code == 2


async def test_the_command_prints_a_strangers_words_on_one_line(
    shop: ServedShop, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_a_hostile_event(shop)
    shown = (await printed(database_url, monkeypatch)).stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert shown.count("\n") == 1
    assert "[bold]" in shown


# --- figures -------------------------------------------------------------------------------------------------------


async def figures(shop: ServedShop) -> dict[str, float]:
    """Return what /metrics says, by name and labels."""
    answer: httpx.Response = await shop.get("/metrics", headers={"Authorization": ""})
    assert answer.status_code == 200
    lines = [line for line in answer.text.splitlines() if line and not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


async def test_work_that_stands_still_is_seen(shop: ServedShop) -> None:
    expect(await shop.post("/v1/refunds", {"payment_intent": shop.pay(), "amount": 5}), 202)
    shown = await figures(shop)
    assert shown['returns_refunds_due{status="queued"}'] == 1
    assert shown['returns_refunds_overdue{status="queued"}'] == 0
    shop.advance(125)
    shown = await figures(shop)
    assert shown['returns_refunds_overdue{status="queued"}'] == 1
    assert shown['returns_chores_overdue{chore="read_payment"}'] == 1, "the payment was to be read a second time"
    assert shown['returns_refunds_overdue{status="pending"}'] == 0
    await shop.work()
    assert (await figures(shop))['returns_refunds_due{status="queued"}'] == 0


async def test_the_desk_is_seen_in_figures(shop: ServedShop) -> None:
    await failed(shop, 2)
    shop.advance(500)
    shown = await figures(shop)
    assert shown['returns_desk_items{kind="refund_failed"}'] == 2
    assert shown['returns_desk_oldest_seconds{kind="refund_failed"}'] == 510
    assert {name for name in shown if name.startswith("returns_desk_items")} == {
        f'returns_desk_items{{kind="{kind}"}}' for kind in DESK_KINDS
    }


async def test_disputes_and_events_that_cannot_be_folded_are_seen(shop: ServedShop) -> None:
    made = await shop.create_approved_return()
    dispute = shop.dashboard.open_dispute(made["payment_intent"])
    await shop.deliver()
    await with_a_hostile_event(shop)
    shown = await figures(shop)
    assert (shown["returns_disputes_open"], shown["returns_stripe_events_failed"]) == (1, 1)
    shop.dashboard.lose(dispute["id"])
    await shop.deliver()
    assert (await figures(shop))["returns_disputes_open"] == 0


async def test_the_work_of_a_worker_inside_is_counted_and_its_sweep_has_an_age(shop: ServedShop) -> None:
    context = shop.context
    dispatcher = WebhookDispatcher(context.database, context.line)
    worker = Worker(RefundExecutor(context.database, context.gateway), dispatcher, context.policy, livemode=False)
    context.metrics.follow(worker.executor.done)
    expect(await shop.post("/v1/refunds", {"payment_intent": shop.pay(), "amount": 5}), 202)
    shop.faults.arm("drop_before")
    stop, done = asyncio.Event(), worker.executor.done
    work = asyncio.create_task(worker.run(stop))
    await wait_for(lambda: done["asked", "submitted"], "the first try", progress=work.done)
    shop.faults.disarm()

    def look() -> dict[tuple[str, str], int]:
        shop.advance(61)  # its next try, its payment's second reading, the sweep's next turn
        context.database.wake()
        return {name: done[name] for name in (("asked", "unknown"), ("chore", "pull_event"), ("chore", "read_payment"))}

    await wait_for(look, "one of each", until=lambda counts: all(counts.values()), progress=work.done)
    stop.set()
    await complete(work, "the worker's end")
    shown = await figures(shop)
    assert shown['returns_worker_asked_total{status="submitted"}'] >= 1
    assert shown['returns_worker_asked_total{status="unknown"}'] >= 1
    assert shown['returns_worker_chores_total{chore="pull_event"}'] >= 1
    assert shown['returns_worker_chores_total{chore="read_payment"}'] >= 1
    before = shown['returns_sweep_age_seconds{sweep="events"}']
    shop.advance(1000)
    assert (await figures(shop))['returns_sweep_age_seconds{sweep="events"}'] - before == 1000


async def test_every_figure_that_the_readme_alerts_on_is_served(shop: ServedShop) -> None:
    """Served is a value, with the labels that the README names, once each thing has happened once."""
    context, by = shop.context, Actor("worker")
    await shop.client.post("/webhooks/stripe", content=b"{}", headers={"Stripe-Signature": "t=1,v1=0"})
    await count_charges(context.database, context.gateway, by, DEFAULT)
    await pull_missed_events(context.database, context.gateway, by, DEFAULT, livemode=False)
    await reconcile(context.database, context.gateway, context.database.now() - timedelta(days=1), fix=False)
    table = README.read_text(encoding="utf-8").partition("<!-- alerts -->")[2].partition("<!-- end -->")[0]
    named = re.findall(r"^\| `(returns_[^`]+)` \|", table, flags=re.MULTILINE)
    assert len(named) >= 10
    shown = await figures(shop)
    for name in named:
        assert [sample for sample in shown if sample == name or sample.startswith(f"{name}{{")], name


def test_two_applications_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.requests.labels("GET", "/", 200).inc()
    assert "returns_http_requests_total{" in one.text().decode()
    assert "returns_http_requests_total{" not in other.text().decode()


async def test_refunds_a_dispute_holds_are_not_overdue(shop: ServedShop) -> None:
    expect(await shop.post("/v1/refunds", {"payment_intent": (payment := shop.pay()), "amount": 5}), 202)
    shop.dashboard.open_dispute(payment)
    await shop.deliver()
    shop.advance(3600)
    assert (await figures(shop))['returns_refunds_overdue{status="queued"}'] == 0
