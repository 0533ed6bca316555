"""Outgoing webhooks: endpoints, the events each one gets, and the secrets that sign them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field, StringConstraints
from sqlmodel import select

from returns_service.commands.webhook_deliveries import DeliveryView, show_delivery
from returns_service.commands.webhook_endpoints import (
    DeletedWebhookEndpointView,
    WebhookEndpointView,
    create_endpoint,
    delete_endpoint,
    ping_endpoint,
    rotate_secret,
    show_endpoint,
    update_endpoint,
)
from returns_service.domain.problems import Problem
from returns_service.domain.public_addresses import LONGEST_URL, NotAllowed
from returns_service.domain.vocabulary import EndpointStatus, Scope, Subscription
from returns_service.store.database import Tx
from returns_service.store.tables import WebhookEndpoint
from returns_service.web.operations.bodies import Body, Clean, Words
from returns_service.web.operations.operation import (
    Empty,
    Operation,
    OperationCall,
    Reply,
    StripeRead,
    deletes,
    reads,
    writes,
)
from returns_service.web.operations.parameters import CREATED
from returns_service.web.operations.query_string import ListView, show_list

TAG = "Outgoing webhooks"
SCOPE: Scope = "admin"
PATH = "/v1/webhook_endpoints"
ONE = PATH + "/{endpoint_id}"
EXAMPLE = {"url": "https://shop.example.com/hooks/returns", "events": ["*"], "description": "The shop's backend"}


Url = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LONGEST_URL),
    Field(json_schema_extra={"pattern": "^https?://"}),  # which of the two, and whose host, is asked before it is kept
    Clean,
]
Subscriptions = Annotated[list[Subscription], Field(min_length=1, max_length=100)]


class CreateEndpoint(Body):
    """Where to, and which events: their types, or `*` for all."""

    url: Url
    events: Subscriptions
    description: Words | None = None


class UpdateEndpoint(Body):
    """What to change. Enabled again, or at another URL, it is sent at once what it has not got."""

    url: Url | None = None
    events: Subscriptions | None = None
    description: Words | None = None
    status: EndpointStatus | None = None


async def check_url(call: OperationCall[Any]) -> StripeRead:
    """Ask the name server where the URL leads, before the transaction. Raises Problem url_not_allowed."""
    if call.body.url is not None:
        try:
            await call.context.line.check(call.body.url)
        except NotAllowed as refused:
            raise Problem("url_not_allowed", str(refused), param="url") from None
    return None


def reply_with_secret(
    row: WebhookEndpoint, tx: Tx, secret: str, headers: Mapping[str, str] = MappingProxyType({})
) -> Reply:
    """Answer with an endpoint and its secret; to the same request again, that the secret was shown."""
    return Reply(show_endpoint(row, tx.now, secret), headers, show_endpoint(row, tx.now, secret_shown=True))


@writes(
    PATH, TAG, WebhookEndpointView,
    scope=SCOPE, body=CreateEndpoint, status=201, headers=("Location",), before_transaction=check_url,
    example=EXAMPLE,
    errors=("url_not_allowed", "too_many_endpoints"),
)  # fmt: skip
async def create_webhook_endpoint(call: OperationCall[CreateEndpoint], tx: Tx) -> Reply:
    """Tell a URL what happens from now on.

    Calls are signed as https://www.standardwebhooks.com says; the `secret` is in this answer only. It is not kept for a
    repeated request, which is told `secret_shown`: where the first answer got lost, rotate the secret.
    """
    body = call.body
    row, secret = await create_endpoint(tx, body.url, body.events, body.description)
    return reply_with_secret(row, tx, secret, {"Location": f"{PATH}/{row.id}"})


@reads(
    PATH, TAG, ListView[WebhookEndpointView], paged=True, parameters=CREATED, scope=SCOPE, errors=("unknown_filter",)
)
async def list_webhook_endpoints(call: OperationCall[Empty], tx: Tx) -> Reply:
    """List the webhook endpoints, newest first."""
    endpoint_id, made_at = WebhookEndpoint.id, WebhookEndpoint.created_at
    chosen = call.query.within(select(WebhookEndpoint), endpoint_id, "whe", created=made_at)
    found = (await tx.execute(call.query.window(chosen, WebhookEndpoint.id, "whe"))).scalars().all()
    rows, has_more = call.query.page(found)
    return Reply(show_list(PATH, rows, has_more, lambda row: show_endpoint(row, tx.now)))


@reads(ONE, TAG, WebhookEndpointView, scope=SCOPE, errors=("not_found",))
async def read_webhook_endpoint(call: OperationCall[Empty], tx: Tx) -> Reply:
    """Read a webhook endpoint; a disabled one says since when and why."""
    row = await tx.get(WebhookEndpoint, call.id("endpoint_id"))
    if row is None:
        raise Problem("not_found", f"There is no webhook endpoint {call.id('endpoint_id')}.")
    return Reply(show_endpoint(row, tx.now))


@writes(
    ONE, TAG, WebhookEndpointView,
    scope=SCOPE, body=UpdateEndpoint, before_transaction=check_url, example={"events": ["return.state_changed"]},
    errors=("not_found", "url_not_allowed"),
)  # fmt: skip
async def update_webhook_endpoint(call: OperationCall[UpdateEndpoint], tx: Tx) -> Reply:
    """Change a webhook endpoint.

    With `status` `enabled`, one that was disabled is sent what it missed, in order.
    """
    changes = call.body.model_dump(exclude_unset=True)
    row = await update_endpoint(tx, call.by, call.id("endpoint_id"), changes)
    return Reply(show_endpoint(row, tx.now))


@deletes(ONE, TAG, DeletedWebhookEndpointView, scope=SCOPE, errors=("not_found",))
async def delete_webhook_endpoint(call: OperationCall[Empty], tx: Tx) -> Reply:
    """Delete a webhook endpoint and its deliveries; nothing more is sent to it."""
    await delete_endpoint(tx, call.id("endpoint_id"))
    return Reply(DeletedWebhookEndpointView(id=call.id("endpoint_id"), deleted=True))


@writes(
    ONE + "/rotate_secret", TAG, WebhookEndpointView,
    scope=SCOPE, body=Empty, example={}, errors=("not_found",),
)  # fmt: skip
async def rotate_webhook_secret(call: OperationCall[Empty], tx: Tx) -> Reply:
    """Make a new signing secret.

    It is in this answer only; the old one signs beside it for 24 hours, as the header has room for several signatures.
    """
    row, secret = await rotate_secret(tx, call.id("endpoint_id"))
    return reply_with_secret(row, tx, secret)


@writes(
    ONE + "/test", TAG, DeliveryView,
    scope=SCOPE, body=Empty, example={}, status=202, headers=("Location",), errors=("not_found",),
)  # fmt: skip
async def test_webhook_endpoint(call: OperationCall[Empty], tx: Tx) -> Reply:
    """Send a `ping` to this endpoint, the way of all events.

    The answer is its delivery: read it again to see whether it arrived.
    """
    row = await ping_endpoint(tx, call.by, call.id("endpoint_id"))
    return Reply(show_delivery(row), {"Location": f"/v1/deliveries/{row.id}"})


OPERATIONS: tuple[Operation, ...] = (
    create_webhook_endpoint, list_webhook_endpoints, read_webhook_endpoint, update_webhook_endpoint,
    delete_webhook_endpoint, rotate_webhook_secret, test_webhook_endpoint,
)  # fmt: skip
