"""One trace leads from the API's request over the worker's call to Stripe's webhook."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from returns_service import tracing
from tests.factories import create_event, create_refund
from tests.harness.served_shop import open_shop
from tests.harness.shop import Shop
from tests.harness.webhook_receivers import WebhookReceivers

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    """Where spans end while traces are on."""
    made = InMemorySpanExporter()
    tracing.start_tracing(None, made)
    yield made
    tracing.stop_tracing()


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


async def test_one_trace_from_the_request_to_the_webhook(database_url: str, exporter: InMemorySpanExporter) -> None:
    async with open_shop(database_url) as shop:
        made = await shop.create_approved_return()
        exporter.clear()
        counts = {"lines": [{"sku": "SHIRT", "quantity": 3, "condition": "new"}]}
        counted = await shop.post(f"/v1/returns/{made['id']}/receipts", counts, traceparent=CALLER)
        assert counted.status_code == 201
        await shop.settle()
        (row,) = await shop.refunds()
    assert row.status == "succeeded"
    names = [span.name for span in exporter.get_finished_spans() if trace_of(span) == CALLER.split("-")[1]]
    assert names[0] == "POST /v1/returns/{return_id}/receipts"
    assert names[1:3] == ["Stripe POST refunds", "refund.execute"]
    assert {"refund.created", "refund.updated"} & set(names[3:])
    assert row.traceparent is not None
    assert row.traceparent.split("-")[1] == CALLER.split("-")[1]


async def test_a_listener_is_called_in_the_refunds_trace(database_url: str, exporter: InMemorySpanExporter) -> None:
    shop = Shop(database_url)
    receivers = WebhookReceivers(shop.db)
    await receivers.create_endpoint()
    async with shop.db.transaction() as tx:
        refund = await create_refund(tx, due_in_seconds=None, traceparent=CALLER)
        await create_event(tx, type="refund.status_changed", refund_id=refund.id)
    await receivers.work()
    await shop.close()
    (call,) = receivers.calls
    (span,) = [span for span in exporter.get_finished_spans() if span.name == "refund.status_changed"]
    assert trace_of(span) == CALLER.split("-")[1]
    assert call.headers["traceparent"].split("-")[1] == CALLER.split("-")[1]


async def test_a_span_tells_the_route_and_no_customer(database_url: str, exporter: InMemorySpanExporter) -> None:
    async with open_shop(database_url) as shop:
        assert (await shop.get("/v1/returns?q=Muster")).status_code == 200
        assert (await shop.get("/v1/returns/Muster")).status_code == 404
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == ["GET /v1/returns", "GET /v1/returns/{return_id}"]
    assert [dict(span.attributes or {})["http.response.status_code"] for span in spans] == [200, 404]
    assert "Muster" not in "".join(span.to_json() for span in spans)


async def test_an_exception_is_told_by_its_type_alone(exporter: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="Muster"), tracing.span("work"):
        raise ValueError("Mrs. Muster")
    (span,) = exporter.get_finished_spans()
    assert (span.status.description, span.status.is_ok) == ("ValueError", False)
    assert "Muster" not in span.to_json()


@pytest.mark.parametrize("told", ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "x" * 10_000])
async def test_a_callers_nonsense_begins_a_trace_of_our_own(exporter: InMemorySpanExporter, told: str) -> None:
    with tracing.span("work", parent=told):
        assert tracing.current_traceparent() is not None
    (span,) = exporter.get_finished_spans()
    assert span.parent is None


async def test_without_an_endpoint_nothing_is_traced() -> None:
    tracing.start_tracing(None)
    with tracing.span("work") as span:
        span.rename("other")
        span.tell({"answer": "none"})
        assert tracing.current_traceparent() is None


async def test_an_endpoint_without_the_extra_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(tracing.TracingMissing, match="returns-service\\[otel\\]"):
        tracing.start_tracing("http://127.0.0.1:4318")
