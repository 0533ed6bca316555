"""How long work takes, for Prometheus: a histogram for each kind of work, one of each a process.

A process that shows figures registers `HISTOGRAMS`; work is observed whether they are shown or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


def _histogram(name: str, said: str, *labels: str) -> Histogram:
    return Histogram(f"returns_{name}_seconds", said, labels, registry=None, buckets=SECONDS)


REQUESTS = _histogram("http_request", "Time to answer a request, a live stream's whole life included.", "route")
STRIPE_CALLS = _histogram("stripe_call", "Time of a call to Stripe, whatever came of it.", "method", "subject")
CLAIMS = _histogram("claim", "Time to lease the refunds that are due.")
FOLDS = _histogram("fold", "Time to fold one of Stripe's events into our rows.")
DELIVERIES = _histogram("delivery", "Time of a call to a listener.", "outcome")
HISTOGRAMS = (REQUESTS, STRIPE_CALLS, CLAIMS, FOLDS, DELIVERIES)


@contextmanager
def observe_seconds(histogram: Histogram, *labels: str) -> Iterator[None]:
    """Observe how long the block takes, whether it ends well or raises."""
    began = perf_counter()
    try:
        yield
    finally:
        (histogram.labels(*labels) if labels else histogram).observe(perf_counter() - began)
