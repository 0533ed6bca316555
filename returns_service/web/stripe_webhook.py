"""Stripe's webhooks: the signature over the raw body, then one transaction that stores and folds the event."""

from __future__ import annotations

from functools import partial
from typing import Any

import structlog
from litestar import Request, Response, post

from returns_service.commands.stripe_inbox import StripeEventReceiptView, store_and_fold
from returns_service.domain.problems import Problem
from returns_service.return_case.events import Actor
from returns_service.stripe_gateway import InvalidSignature, read_webhook
from returns_service.web.context import context_of
from returns_service.web.errors import request_id_of
from returns_service.web.operations.ask_stripe import learn_account

LONGEST_WEBHOOK_BYTES = 256 * 1024
log = structlog.get_logger("returns.webhooks")


@post(
    "/webhooks/stripe", include_in_schema=False, status_code=200, request_max_body_size=LONGEST_WEBHOOK_BYTES,
    name="stripe_webhook",
)  # fmt: skip
async def stripe_webhook(request: Request[Any, Any, Any]) -> Response[StripeEventReceiptView]:
    """Take one event in. Once it is stored Stripe has its 200, whatever becomes of the fold."""
    context = context_of(request)
    secrets = [secret.get_secret_value() for secret in context.settings.stripe_webhook_secret]
    signature = request.headers.get("stripe-signature")
    try:
        event = read_webhook(await request.body(), signature, secrets, now=context.database.now().timestamp())
    except InvalidSignature as error:
        # What isn't signed at all comes from strangers who try addresses out: it says nothing of our secret.
        context.metrics.webhooks.labels("invalid_signature" if signature else "unsigned").inc()
        log.warning("webhook.refused", reason=error.reason)
        raise Problem("invalid_signature", error.reason) from None
    by = Actor("stripe", request_id_of(request))
    if event.account is not None and context.account is None:
        configured = context.settings.stripe_account
        context.account = await learn_account(context.database, context.gateway, configured)
    work = partial(store_and_fold, by=by, policy=context.policy, event=event, livemode=context.settings.livemode)
    outcome = await context.database.run(work, safe_to_repeat=True)
    context.metrics.webhooks.labels(outcome).inc()
    log.info("webhook.received", stripe_event=event.id, type=event.type, outcome=outcome)
    return Response(StripeEventReceiptView(received=True, outcome=outcome))
