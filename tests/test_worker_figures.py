"""A worker that is asked to shows Prometheus its own figures, and none that every web reads from the rows."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from returns_service.app import figures_shown
from returns_service.settings import SettingsError
from returns_service.timings import HISTOGRAMS
from tests.harness.deployment import free_port


def worker() -> Any:
    """Return what a worker has counted."""
    return SimpleNamespace(executor=SimpleNamespace(done=Counter({("asked", "queued"): 3, ("chore", "follow_up"): 1})))


def test_a_worker_shows_its_own_figures() -> None:
    port = free_port()
    with figures_shown(worker(), "127.0.0.1", port):
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert {family.name for histogram in HISTOGRAMS for family in histogram.collect()} <= families.keys()
    (asked,) = families["returns_worker_asked"].samples
    assert (asked.labels, asked.value) == ({"status": "queued"}, 3)
    assert "returns_database_up" not in families
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/metrics")


def test_a_port_in_use_is_said_so() -> None:
    port = free_port()
    with (
        figures_shown(worker(), "127.0.0.1", port),
        pytest.raises(SettingsError, match="--metrics-port"),
        figures_shown(worker(), "127.0.0.1", port),
    ):
        pass
