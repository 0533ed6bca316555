"""Figures for Prometheus: what this process answered, and what the database says about refunds and deliveries."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from sqlmodel import col, func, select

from returns_service.domain.refund_status import UNANSWERED
from returns_service.store.database import Tx
from returns_service.store.tables import Refund
from returns_service.store.webhook_tables import Delivery


class Metrics:
    """One registry a context, so that two applications in one process don't share figures."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "returns_http_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.webhooks = Counter(
            "returns_stripe_webhooks", "Webhooks from Stripe by outcome.", ["outcome"], registry=self.registry
        )
        self.refunds = Gauge("returns_refunds", "Refunds by status.", ["status"], registry=self.registry)
        self.oldest = Gauge(
            "returns_oldest_unanswered_refund_seconds",
            "Age of the oldest refund that Stripe has not answered; 0 where none is open.",
            registry=self.registry,
        )
        self.deliveries = Gauge("returns_deliveries", "Deliveries by status.", ["status"], registry=self.registry)
        self.oldest_delivery = Gauge(
            "returns_oldest_pending_delivery_seconds",
            "Age of the oldest delivery that has not arrived yet; 0 where none is pending.",
            registry=self.registry,
        )
        self.database = Gauge("returns_database_up", "Whether the database answered.", registry=self.registry)

    async def look(self, tx: Tx) -> None:
        """Read the figures that the database knows."""
        by_status = select(Refund.status, func.count()).group_by(col(Refund.status))
        self.refunds.clear()
        for status, number in (await tx.exec(by_status)).all():
            self.refunds.labels(status).set(number)
        oldest = select(func.min(Refund.created_at)).where(col(Refund.status).in_(UNANSWERED))
        since = (await tx.exec(oldest)).first()
        self.oldest.set(max(0.0, (tx.now - since).total_seconds()) if since else 0)
        self.deliveries.clear()
        deliveries = select(Delivery.status, func.count()).group_by(col(Delivery.status))
        for status, number in (await tx.exec(deliveries)).all():
            self.deliveries.labels(status).set(number)
        waiting = select(func.min(Delivery.created_at)).where(col(Delivery.status) == "pending")
        since = (await tx.exec(waiting)).first()
        self.oldest_delivery.set(max(0.0, (tx.now - since).total_seconds()) if since else 0)
        self.database.set(1)

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self.registry)
