"""The contract's examples: exchanges that really happened, kept in `examples.json` beside this file.

A test plays the story that they come from again (`python -m tests.examples` writes the file anew), so that none of them
tells of a field that is not there any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from returns_service.web.live_feed import frame, greeting
from returns_service.web.operations.operation import Operation

NAME = "examples.json"


class Exchange(msgspec.Struct):
    """A request that succeeded: the ids in its path, its body, and its answer."""

    answer: dict[str, Any]
    path: dict[str, str] = {}
    request: dict[str, Any] | None = None


class Examples(msgspec.Struct):
    """Exchanges by the operation's name, and calls of listeners by the type of the event."""

    operations: dict[str, Exchange]
    events: dict[str, dict[str, Any]]


@cache
def examples() -> Examples:
    """Return all examples."""
    return msgspec.json.decode(files("returns_service.web.api").joinpath(NAME).read_bytes(), type=Examples)


def example_of_answer(name: str) -> dict[str, Any]:
    """Return the example of an operation's answer, as a part of a media type; empty where there is none."""
    exchange = examples().operations.get(name)
    return {"example": exchange.answer} if exchange else {}


def example_of_body(operation: Operation) -> Mapping[str, Any]:
    """Return the example of an operation's body."""
    exchange = examples().operations.get(operation.name)
    return dict(operation.example or {}) if exchange is None or exchange.request is None else exchange.request


def example_of_stream() -> str:
    """Return what a stream tells that begins before the first of all events."""
    event = examples().events["refund_rate.exceeded"]
    return greeting("evt_0") + frame(event["id"], event["type"], msgspec.json.encode(event))


def example_of_id(operation: Operation, parameter: str) -> dict[str, Any]:
    """Return the example of an id in an operation's path, as a part of a parameter; empty where there is none."""
    exchange = examples().operations.get(operation.name)
    return {"example": exchange.path[parameter]} if exchange and parameter in exchange.path else {}
