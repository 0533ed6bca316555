"""The contract's examples: each operation and each type of event, played anew."""

from __future__ import annotations

import json

from returns_service.return_case.views.event_data import EVENT_KINDS
from returns_service.web.api.openapi_examples import examples
from returns_service.web.routes import OPERATIONS
from tests.examples import FILE, made_of
from tests.harness.served_shop import ServedShop
from tests.harness.story import play


async def test_every_operation_answers_as_its_example_shows(shop: ServedShop) -> None:
    """One that answers otherwise by now: run `python -m tests.examples`."""
    assert made_of(await play(shop)) == json.loads(FILE.read_text(encoding="utf-8"))


def test_no_operation_and_no_event_is_without_an_example() -> None:
    assert {operation.name for operation in OPERATIONS} <= examples().operations.keys()
    assert examples().events.keys() == EVENT_KINDS.keys()
