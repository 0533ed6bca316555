"""Traces by OpenTelemetry: one from the API's request over the worker's call to the webhook that ends it.

On where an endpoint is set (`OTEL_EXPORTER_OTLP_ENDPOINT`) and the extra is installed; elsewhere OpenTelemetry isn't
even imported, and a span is a block like any other. A refund's row keeps the `traceparent` of the request that decided
it (https://www.w3.org/TR/trace-context/), so that another process, hours later, goes on with the same trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

Kind = Literal["INTERNAL", "SERVER", "CLIENT", "CONSUMER"]
LONGEST_TRACEPARENT = 55  # version, trace, span and flags in hexadecimal
MISSING = "OTEL_EXPORTER_OTLP_ENDPOINT: OpenTelemetry is not installed. Run: pip install 'returns-service[otel]'"
_state: dict[str, Any] = {}  # `provider`, `tracer` and `propagator` where traces are on


class TracingMissing(ImportError):
    """An endpoint is set, and the packages that would send there are not installed."""


class Span:
    """What a block may say of itself while it runs; where traces are off nobody listens."""

    def __init__(self, inner: Any = None) -> None:
        self._inner = inner

    def rename(self, name: str) -> None:
        """Give the span the name that only turned out meanwhile."""
        if self._inner is not None:
            self._inner.update_name(name)

    def tell(self, attributes: Mapping[str, str | int | float]) -> None:
        """Add attributes; never a customer's data."""
        if self._inner is not None:
            self._inner.set_attributes(dict(attributes))


SILENT = Span()


def start_tracing(endpoint: str | None, exporter: SpanExporter | None = None) -> None:
    """Send spans to a collector from now on, by OTLP over HTTP, or to the exporter given; None: leave traces off.

    Raises TracingMissing.
    """
    if endpoint is None and exporter is None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except ImportError:
        raise TracingMissing(MISSING) from None
    release = version("returns-service")
    provider = TracerProvider(resource=Resource.create({"service.name": "returns-service", "service.version": release}))
    if exporter is not None:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    else:
        # The address is the collector's; where traces go in it is OTLP's own rule, which the exporter knows only for
        # what it reads from the environment itself.
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")))
    tracer = provider.get_tracer("returns-service", release)
    _state.update(provider=provider, tracer=tracer, propagator=TraceContextTextMapPropagator())


def stop_tracing() -> None:
    """Send what is left, within the exporter's own time, and turn traces off."""
    provider = _state.pop("provider", None)
    _state.clear()
    if provider is not None:
        provider.shutdown()


@contextmanager
def span(name: str, *, kind: Kind = "INTERNAL", parent: str | None = None, **attributes: str | int) -> Iterator[Span]:
    """Run the block as a span, of the present one or of the trace that `parent`, a traceparent, names.

    An exception that leaves the block is recorded by its type alone: its text may hold what a customer wrote.
    """
    if not _state:
        yield SILENT
        return
    from opentelemetry.trace import SpanKind, Status, StatusCode

    carrier = {"traceparent": parent} if parent and len(parent) <= LONGEST_TRACEPARENT else {}
    context = _state["propagator"].extract(carrier) if carrier else None
    with _state["tracer"].start_as_current_span(
        name, context=context, kind=SpanKind[kind], attributes=attributes, record_exception=False,
        set_status_on_exception=False,
    ) as inner:  # fmt: skip
        try:
            yield Span(inner)
        except Exception as error:
            inner.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def is_on() -> bool:
    """Return whether spans are sent anywhere."""
    return bool(_state)


def current_traceparent() -> str | None:
    """Return what names the present span to another process; None where traces are off, or nothing is traced."""
    if not _state:
        return None
    carrier: dict[str, str] = {}
    _state["propagator"].inject(carrier)
    return carrier.get("traceparent")
