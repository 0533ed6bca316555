"""Schemathesis over the whole contract: no request, however odd, is answered 500 or otherwise than it says.

Walks go by the contract's links from answer to answer, so that what they ask for is there; each body is the example's,
about what the walk has met, or one that Schemathesis made up.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core import NOT_SET
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from returns_service.store import schema
from returns_service.web.api.openapi import json_document
from returns_service.web.routes import OPERATIONS
from tests.api.test_openapi import links
from tests.harness.patience import block_until, wait_for
from tests.harness.served_shop import ServedShop, open_shop
from tests.harness.story import BY_NAME, play

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
STEPS, STEPS_A_SETTLING = 360, 5
NEWEST = 3  # of what was met: so a return gets on
SELDOM = 0.4  # the share of steps that try what has not succeeded yet
PLAIN = 0.8  # the share of steps with a body that makes sense
OUR_ID = re.compile(r"([a-z]{2,3})_[0-9a-z]{26}")
QUIET = hypothesis.settings(
    deadline=None, database=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
LINKS: dict[str, list[tuple[str, dict[str, str]]]] = {name: [] for name in BY_NAME}
for source_name, target_name, link_parameters in links():
    LINKS[target_name].append((source_name, link_parameters))


@dataclass
class Met:
    """What walks have met: answers by the operation that gave them, and how often each was asked and succeeded."""

    answers: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)  # each with the step's number
    succeeded: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    gone: set[str] = field(default_factory=set)  # ids of what was deleted


@dataclass
class Served:
    """The application on a port, in a thread of its own: what is searched may take its time."""

    url: str = ""
    secret: str = ""
    started: threading.Event = field(default_factory=threading.Event)
    server: uvicorn.Server | None = None
    shop: ServedShop | None = None
    loop: asyncio.AbstractEventLoop | None = None
    payments: int = 0
    bodies: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # that succeeded once, by operation

    async def serve(self, database_url: str) -> None:
        async with open_shop(database_url) as self.shop:
            self.loop, self.secret = asyncio.get_running_loop(), self.shop.secret
            self.bodies = (await play(self.shop)).bodies
            config = uvicorn.Config(self.shop.app, port=0, log_level="error", lifespan="off")
            self.server = uvicorn.Server(config)
            task = asyncio.create_task(self.server.serve())
            server = self.server
            await wait_for(lambda: server.started, "the server", progress=task.done)
            self.url = f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"
            self.started.set()
            await task

    def settle(self) -> None:
        """Let the worker and Stripe go on until all is quiet."""
        assert self.shop is not None
        assert self.loop is not None
        asyncio.run_coroutine_threadsafe(self.shop.settle(), self.loop).result()

    def pay(self) -> str:
        """Return the id of a new payment; of every third one refunds fail."""
        assert self.shop is not None
        self.payments += 1
        return self.shop.pay(card="pm_card_visa" if self.payments % 3 else "pm_card_refundFail")

    def ask(self, case: Any) -> Any:
        """Ask, and hold the answer against the contract; return it."""
        answer = case.call(base_url=self.url, headers={"Authorization": f"Bearer {self.secret}"})
        case.validate_response(answer, checks=CHECKS)
        asked = case.operation.definition.raw if case.method.lower() == case.operation.method.lower() else None
        declared = asked["responses"].get(str(answer.status_code), {}).get("content", {}) if asked is not None else {}
        if "application/problem+json" in declared:
            codes = declared["application/problem+json"]["schema"].get("properties", {}).get("code", {}).get("enum")
            assert codes is None or answer.json()["code"] in codes
        return answer


@pytest.fixture(scope="module")
def contract() -> Any:
    """The contract, as Schemathesis reads it."""
    return schemathesis.openapi.from_dict(json.loads(json_document(OPERATIONS)))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    url = f"sqlite:///{tmp_path_factory.mktemp('fuzzed') / 'returns.db'}"
    schema.migrate(url)
    served = Served()
    thread = threading.Thread(target=lambda: asyncio.run(served.serve(url)))
    thread.start()

    def look() -> tuple[bool, int]:
        return served.started.is_set() or not thread.is_alive(), len(served.shop.wire.requests) if served.shop else 0

    block_until(look, "the server's start", until=lambda seen: seen[0])
    yield served
    assert served.server is not None
    served.server.should_exit = True
    thread.join()


def test_walks_by_links_meet_what_the_contract_says(contract: Any, served: Served) -> None:
    """A link leads to what is there, and most operations succeed on the way."""
    met, dice = Met(), random.Random(1)
    operations = {one.ok().definition.raw["operationId"]: one.ok() for one in contract.get_all_operations()}
    odd = {name: made_up(one, 1) for name, one in operations.items()}
    for step in range(STEPS):
        take_step(dice, operations, odd, served, met)
        if step % STEPS_A_SETTLING == 0:
            served.settle()
    for case in itertools.chain.from_iterable(odd.values()):
        served.ask(case)
    never = sorted(BY_NAME.keys() - met.succeeded.keys())
    print(f"{len(met.succeeded)} of {len(BY_NAME)} operations succeeded on walks; never: {', '.join(never)}")
    assert len(never) <= len(BY_NAME) // 3, never


def made_up(operation: Any, examples: int) -> list[Any]:
    """Return requests to an operation as nobody would write them: as many by the contract as against it."""
    found: list[Any] = []
    for mode in GenerationMode:

        @hypothesis.settings(QUIET, max_examples=examples)
        @hypothesis.given(operation.as_strategy(generation_mode=mode))
        def keep(case: Any) -> None:
            found.append(case)

        with contextlib.suppress(Unsatisfiable):  # where nothing is asked, nothing can be wrong
            keep()
    return found


def take_step(dice: random.Random, operations: Any, odd: dict[str, list[Any]], served: Served, met: Met) -> None:
    """Ask for something, by ids that a link leads to; rather for what has not succeeded yet."""
    ways: dict[str, list[tuple[dict[str, str], Any]]] = {
        name: ways_to(name, met) if "{" in one.path else [({}, {})] for name, one in BY_NAME.items()
    }
    ready = [name for name in ways if ways[name]]
    name = dice.choice(ready)
    if dice.random() < SELDOM:
        name = min(ready, key=lambda name: (met.succeeded[name] > 0, met.asked[name]))
    operation, (ids, near) = BY_NAME[name], dice.choice(ways[name][-NEWEST:])
    met.asked[name] += 1
    plain = not odd[name] or dice.random() < PLAIN
    if plain:
        headers = {"Idempotency-Key": f"step-{met.asked.total()}"} if operation.writes else {}
        bodies = served.bodies.get(name)
        body = about_what_is_near(dice.choice(bodies), near, served, met) if bodies else NOT_SET
        case = operations[name].Case(path_parameters=ids, headers=headers, body=body, media_type="application/json")
    else:
        case = odd[name].pop()
        case.path_parameters = ids
    answer = served.ask(case)
    if answer.status_code == 404 and plain and name != "resolve_undeclared":  # a surplus goes once its units fit
        around = {found[0] for found in OUR_ID.finditer(json.dumps([ids, near]))}
        assert met.gone & around, f"a link to {name} leads nowhere: {ids}"
    if answer.status_code != operation.status:
        return
    met.succeeded[name] += 1
    if operation.method == "DELETE":
        met.gone |= {*ids.values()}
    if "json" in answer.headers["content-type"][0]:
        met.answers.setdefault(name, []).append((met.asked.total(), answer.json()))


def ways_to(name: str, met: Met) -> list[tuple[dict[str, str], Any]]:
    """Return the ids by which links lead to an operation, each with the answer that they come from; newest last."""
    found = []
    for source, parameters in LINKS[name]:
        for step, answer in met.answers.get(source, [])[-NEWEST:]:
            ids = {parameter: at(answer, place) for parameter, place in parameters.items()}
            if None not in ids.values():
                found.append((step, ids, answer))
    return [(ids, answer) for _, ids, answer in sorted(found, key=lambda one: one[0])]


def at(answer: Any, place: str) -> Any:
    """Return what a link's expression names in an answer; None where it isn't there."""
    for step in place.removeprefix("$response.body#/").split("/"):
        try:
            answer = answer[int(step)] if isinstance(answer, list) else answer[step]
        except (IndexError, KeyError):
            return None
    return answer


def about_what_is_near(example: Any, near: Any, served: Served, met: Met) -> Any:
    """Return a body like an example, with new payments and with ids out of an answer, or else of what was met last."""
    by_prefix: dict[str, list[str]] = {}
    for found in OUR_ID.finditer(json.dumps([[*met.answers.values()], near])):
        by_prefix.setdefault(found[1], []).append(found[0])

    def renewed(part: Any, name: str = "") -> Any:
        if isinstance(part, dict):
            return {field: renewed(value, field) for field, value in part.items()}
        if isinstance(part, list):
            return [renewed(one) for one in part]
        if name == "payment_intent":
            return served.pay()
        if name == "scan_id":
            return f"dock-2-{met.asked.total()}"
        prefix = OUR_ID.fullmatch(part) if isinstance(part, str) else None
        return by_prefix[prefix[1]][-1] if prefix and prefix[1] in by_prefix else part

    return renewed(example)


@pytest.mark.soak
def test_many_odd_requests_are_answered_as_the_contract_says(contract: Any, served: Served) -> None:
    for found in contract.get_all_operations():
        for case in made_up(found.ok(), 50):
            served.ask(case)
