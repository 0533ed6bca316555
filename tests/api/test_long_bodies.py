"""A1: what a body costs before it is refused grows with its length alone, and never beyond the longest that is taken.

Costs are the CPU time of this process, told in multiples of each other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from returns_service.domain.problems import Problem
from returns_service.web.operations.bodies import MOST_ERRORS, MOST_LINES, canonical_json, parse_object, validate
from returns_service.web.operations.returns import CreateReturn
from tests.harness.served_shop import ServedShop, expect, return_body

LINE = {"sku": "x" * 30, "title": "y" * 200, "reason": "z" * 300, "quantity": 1, "total_amount": 1}
WHOLE = LINE | {"order_line": "l1", "quantity_ordered": 1000, "barcodes": ["0123456789012"] * 20}
NAMES = [f"{number:05}" for number in range(20_000)]
HOSTILE: dict[str, str] = {
    "a name twice": "{" + ",".join(f'"{name}":1' for name in [*NAMES, NAMES[-1]]) + "}",
    "unknown fields": "{" + ",".join(f'"{number}":1' for number in range(90_000)) + "}",
    "unknown fields in lines": json.dumps(return_body("pi_1", lines=[dict.fromkeys(NAMES[:40], 1)] * MOST_LINES)),
    "empty lines": json.dumps(return_body("pi_1", lines=[{}] * 330_000)),
    "a thousand empty lines": json.dumps(return_body("pi_1", lines=[{}] * MOST_LINES)),
    "numbers as lines": json.dumps(return_body("pi_1", lines=[1] * 330_000)),
    "empty arrays": json.dumps({"x": [[]] * 250_000}),
    "wrong barcodes": json.dumps(return_body("pi_1", lines=[WHOLE | {"barcodes": [1] * 20}] * MOST_LINES)),
    "wrong metadata": json.dumps(return_body("pi_1", metadata=dict.fromkeys(NAMES, 1))),
    "large numbers": json.dumps({"x": [10**4000] * 240}),
    "fractions": json.dumps({"x": [1.5e-57] * 120_000}),
    "an open text": '{"a":"' + "," * 1_000_000,
    "an open text of escapes": '{"a":"' + "\\," * 500_000,
    "quotes": '{"a":' + '",' * 500_000,
    "brackets": "[" * 1_000_000,
}


def refuse(body: bytes) -> None:
    """Take a body as a request does, up to its refusal."""
    with pytest.raises(Problem):
        take(body)


def take(body: bytes) -> None:
    """Take a body as a request does."""
    sent = parse_object(body, "application/json")
    canonical_json(sent)
    validate(CreateReturn, sent)


def cost_of(work: Callable[[], Any]) -> float:
    """Return the least CPU time of three runs, in seconds."""
    costs = []
    for _ in range(3):
        began = time.process_time()
        work()
        costs.append(time.process_time() - began)
    return min(costs)


def test_the_longest_body_that_anybody_needs_is_taken() -> None:
    take(json.dumps(return_body("pi_1", lines=[WHOLE] * MOST_LINES)).encode())
    commas = LINE | {"title": "," * 200, "reason": "{[" * 200}
    take(json.dumps(return_body("pi_1", lines=[commas] * MOST_LINES)).encode())


@pytest.mark.parametrize("name", HOSTILE)
def test_a1_a_hostile_body_costs_no_more_than_the_longest_that_is_taken(name: str) -> None:
    longest = json.dumps(return_body("pi_1", lines=[WHOLE] * MOST_LINES)).encode()
    hostile = HOSTILE[name].encode()
    assert cost_of(lambda: refuse(hostile)) < 4 * cost_of(lambda: take(longest))


def test_a1_errors_are_looked_for_up_to_the_number_that_is_shown() -> None:
    body = return_body("pi_1", lines=[{"sku": 1}] * MOST_LINES)
    with pytest.raises(Problem) as refused:
        validate(CreateReturn, body)
    assert len(refused.value.facts["errors"]) == MOST_ERRORS


async def test_a1_a_parcel_of_four_times_as_many_lines_costs_about_four_times_as_much(shop: ServedShop) -> None:
    """A1: the dock's count of 1,000 lines held the process for 9 s, each line being looked for among all."""

    async def cost_of_a_parcel(lines: int) -> float:
        asked = [LINE | {"sku": f"SKU-{number}"} for number in range(lines)]
        made = expect(await shop.post("/v1/returns", return_body(shop.pay(), lines=asked)), 201)
        expect(await shop.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "A test."}), 200)
        counts = [{"sku": line["sku"], "quantity": 1, "condition": "new"} for line in asked]
        began = time.process_time()
        expect(await shop.post(f"/v1/returns/{made['id']}/receipts", {"lines": counts}), 201)
        return time.process_time() - began

    await cost_of_a_parcel(10)
    few, many = await cost_of_a_parcel(250), await cost_of_a_parcel(1000)
    assert many < 10 * few
