"""The contract's part for listeners: one schema for each type of event, and the call that brings it."""

from __future__ import annotations

from typing import Any

from returns_service.return_case.views.event_data import EVENT_KINDS
from returns_service.web.api.openapi_examples import examples

Schema = dict[str, Any]
DATA = tuple(dict.fromkeys(kind.data for kind in EVENT_KINDS.values()))
TEXT = {"type": "string"}
ABOUT = (
    "Sent to each webhook endpoint that asked for this type, signed as https://www.standardwebhooks.com says, at least "
    "once. Any 2xx within 10 seconds is a receipt; anything else is called again."
)
HEADERS = {
    "webhook-id": "The event's id, the same at each attempt: keep it, and ignore what you have seen.",
    "webhook-timestamp": "When this attempt was sent, Unix seconds.",
    "webhook-signature": "`v1,` and the signature; several, separated by blanks, while a secret is rotated.",
}


def name_of(kind: str) -> str:
    """Return the component's name of a type of event: `return.created` is `return_created_event`."""
    return f"{kind.replace('.', '_')}_event"


def event_schemas(event: Schema, data: dict[Any, Schema]) -> dict[str, Schema]:
    """Return a schema for each type of event, made from the one of all, and `event`: any of them, told by `type`."""
    links = {kind: {"$ref": f"#/components/schemas/{name_of(kind)}"} for kind in EVENT_KINDS}
    found: dict[str, Schema] = {
        name_of(kind): {
            **event,
            "description": one.meaning,
            "properties": {
                **event["properties"],
                "object": {"type": "string", "const": "event"},
                "type": {"type": "string", "const": kind},
                "data": data[one.data],
            },
        }
        for kind, one in EVENT_KINDS.items()
    }
    mapping = {kind: link["$ref"] for kind, link in links.items()}
    discriminator = {"propertyName": "type", "mapping": mapping}
    found["event"] = {
        "description": event["description"],
        "oneOf": list(links.values()),
        "discriminator": discriminator,
    }
    return found


def _body(kind: str) -> dict[str, Any]:
    example = {"example": examples().events[kind]} if kind in examples().events else {}
    return {"schema": {"$ref": f"#/components/schemas/{name_of(kind)}"}, **example}


def webhooks() -> dict[str, Any]:
    """Return the calls that an endpoint gets, by the type of the event."""
    parameters = [
        {"name": name, "in": "header", "required": True, "description": said, "schema": TEXT}
        for name, said in HEADERS.items()
    ]
    responses = {
        "2XX": {"description": "Received. Nothing is read of the answer."},
        "410": {"description": "Gone: the endpoint is disabled."},
    }
    return {
        kind: {
            "post": {
                "operationId": f"on_{name_of(kind)}",
                "summary": one.meaning.rstrip("."),
                "description": ABOUT,
                "tags": ["Outgoing webhooks"],
                "security": [],
                "parameters": parameters,
                "requestBody": {
                    "required": True,
                    "content": {"application/json": _body(kind)},
                },
                "responses": responses,
            }
        }
        for kind, one in EVENT_KINDS.items()
    }
