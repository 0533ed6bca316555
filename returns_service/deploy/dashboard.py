"""A Grafana dashboard over the figures of `/metrics`: is money moving, who waits, is anything slow."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT, COLUMNS = 8, 8, 3  # of a panel, in the 24 columns of Grafana's grid
SOURCE = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """A plot over time: expressions in PromQL by their legend, and Grafana's name of the unit."""

    title: str
    expressions: dict[str, str]
    unit: str = "short"


def _quantile(share: float, figure: str, by: str = "") -> str:
    labels = ", ".join(filter(None, ("le", by)))
    return f"histogram_quantile({share}, sum by ({labels}) (rate({figure}_bucket[5m])))"


PANELS = (
    Panel("Refunds by status", {"{{status}}": "max by (status) (returns_refunds)"}),
    Panel("Refunds that are due, and late", {
        "due {{status}}": "max by (status) (returns_refunds_due)",
        "late {{status}}": "max by (status) (returns_refunds_overdue)",
    }),
    Panel("Oldest refund that Stripe has not answered", {"age": "max(returns_oldest_unanswered_refund_seconds)"}, "s"),
    Panel("What waits for a person", {"{{kind}}": "max by (kind) (returns_desk_items) > 0"}),
    Panel("How long the oldest of it waits", {"{{kind}}": "max by (kind) (returns_desk_oldest_seconds) > 0"}, "s"),
    Panel("Differences from Stripe, and disputes", {
        "differences": "max(returns_reconciliation_differences)",
        "disputes": "max(returns_disputes_open)",
        "unread events": "max(returns_stripe_events_failed)",
    }),
    Panel("Stripe's webhooks", {"{{outcome}}": "sum by (outcome) (rate(returns_stripe_webhooks_total[5m]))"}, "reqps"),
    Panel("Calls to Stripe without an answer, in a row", {"failures": "max(returns_stripe_failures_in_a_row)"}),
    Panel("Age of the sweeps", {"{{sweep}}": "max by (sweep) (returns_sweep_age_seconds)"}, "s"),
    Panel("Requests", {"{{status}}": "sum by (status) (rate(returns_http_requests_total[5m]))"}, "reqps"),
    Panel("Deliveries to listeners", {"{{status}}": "max by (status) (returns_deliveries)"}),
    Panel("Oldest delivery that has not arrived", {"age": "max(returns_oldest_pending_delivery_seconds)"}, "s"),
    Panel("Slowest twentieth of the requests", {
        "{{route}}": _quantile(0.95, "returns_http_request_seconds", "route"),
    }, "s"),
    Panel("Slowest twentieth of the calls to Stripe", {
        "{{method}} {{subject}}": _quantile(0.95, "returns_stripe_call_seconds", "method, subject"),
    }, "s"),
    Panel("Slowest twentieth of claims, folds and deliveries", {
        "claims": _quantile(0.95, "returns_claim_seconds"),
        "folds": _quantile(0.95, "returns_fold_seconds"),
        "deliveries": _quantile(0.95, "returns_delivery_seconds"),
    }, "s"),
)  # fmt: skip


def grafana_dashboard() -> str:
    """Return the dashboard as JSON, as Grafana imports it; it asks which Prometheus to read."""
    dashboard: dict[str, Any] = {
        "title": "returns-service",
        "uid": "returns-service",
        "tags": ["returns-service"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {
            "list": [{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(PANELS)],
    }
    return json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS)
    targets = [
        {"refId": chr(ord("A") + position), "expr": expression, "legendFormat": legend, "datasource": SOURCE}
        for position, (legend, expression) in enumerate(panel.expressions.items())
    ]
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": targets,
    }
