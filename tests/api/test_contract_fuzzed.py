"""Schemathesis over the whole contract: no request, however odd, is answered 500 or otherwise than it says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import pytest
import schemathesis
import uvicorn
import yaml
from hypothesis import HealthCheck, Phase
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from returns_service.store import schema
from returns_service.web.api.openapi import document
from returns_service.web.routes import OPERATIONS
from tests.harness.patience import block_until, wait_for
from tests.harness.served_shop import ServedShop, open_shop

EXAMPLES = 12  # an operation; the world of odd requests is searched further by hand
CONTRACT = yaml.safe_load(document(OPERATIONS))
SCHEMA = schemathesis.openapi.from_dict(CONTRACT)


@dataclass
class Served:
    """The application on a port, in a thread of its own: what is searched may take its time."""

    url: str = ""
    secret: str = ""
    started: threading.Event = field(default_factory=threading.Event)
    server: uvicorn.Server | None = None
    ids: dict[str, list[str]] = field(default_factory=dict)
    scheduled: int = 0

    def some(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the path's parameters, three times out of four with an id that there is."""
        self.scheduled += 1
        known = {name: ids[self.scheduled // 4 % len(ids)] for name, ids in self.ids.items() if name in parameters}
        return parameters | known if self.scheduled % 4 else parameters

    async def serve(self, database_url: str) -> None:
        async with open_shop(database_url) as shop:
            self.secret = shop.secret
            self.ids = await stocked(shop)
            config = uvicorn.Config(shop.app, port=0, log_level="error", lifespan="off")
            self.server = uvicorn.Server(config)
            task = asyncio.create_task(self.server.serve())
            server = self.server
            await wait_for(lambda: server.started, "the server", progress=task.done)
            self.url = f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"
            self.started.set()
            await task


async def stocked(shop: ServedShop) -> dict[str, list[str]]:
    """Make returns and refunds in several states; return their ids by the names of the paths' parameters."""
    failed = await shop.create_approved_return(quantity=1, card="pm_card_refundFail")
    await shop.receive_parcel(failed["id"])
    await shop.settle()
    queued = await shop.create_approved_return(quantity=2)
    receipt = await shop.receive_parcel(queued["id"], 2, disposition="inspect")
    lines = {"undeclared": [{"sku": "HAT", "quantity": 1}]}
    extra = (await shop.post(f"/v1/returns/{queued['id']}/receipts", lines)).json()
    await shop.receive_parcel((await shop.create_approved_return())["id"])
    returns = [(await shop.create_return())["id"], queued["id"], failed["id"]]
    refunds = [row["id"] for row in (await shop.get("/v1/refunds")).json()["data"]]
    undeclared = [item["id"] for item in extra["undeclared"]]
    hook = {"url": "https://shop.test/hook", "events": ["*"]}
    endpoints = [(await shop.post("/v1/webhook_endpoints", hook)).json()["id"] for _ in range(2)]
    delivery = (await shop.post(f"/v1/webhook_endpoints/{endpoints[0]}/test")).json()["id"]
    payments = [failed["payment"], failed["payment_intent"], failed["charge"]]
    return {
        "return_id": returns, "refund_id": refunds, "receipt_id": [receipt["id"]], "undeclared_id": undeclared,
        "payment_id": payments, "endpoint_id": endpoints, "delivery_id": [delivery],
    }  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    url = f"sqlite:///{tmp_path_factory.mktemp('fuzzed') / 'returns.db'}"
    schema.migrate(url)
    served = Served()
    thread = threading.Thread(target=lambda: asyncio.run(served.serve(url)))
    thread.start()
    block_until(served.started.is_set, "the server's start")
    yield served
    assert served.server is not None
    served.server.should_exit = True
    thread.join()


@hypothesis.settings(
    max_examples=EXAMPLES, deadline=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@SCHEMA.parametrize()
def test_whatever_is_asked_is_answered_as_the_contract_says(case: Any, served: Served) -> None:
    case.path_parameters = served.some(dict(case.path_parameters or {}))
    answer = case.call(base_url=served.url, headers={"Authorization": f"Bearer {served.secret}"})
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    case.validate_response(answer, checks=checks)
    asked = CONTRACT["paths"][case.operation.path].get(case.method.lower())  # now and then a method that isn't there
    declared = asked["responses"][str(answer.status_code)]["content"] if asked is not None else {}
    if "application/problem+json" in declared:
        codes = declared["application/problem+json"]["schema"]["properties"]["code"]["enum"]
        assert answer.json()["code"] in codes
