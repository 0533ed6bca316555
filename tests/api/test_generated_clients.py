"""Clients that strangers generate from the contract: they change what they were told to change, and nothing else."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from returns_service.web.api.openapi import document
from returns_service.web.operations.returns import UpdateReturn
from returns_service.web.operations.webhook_endpoints import UpdateEndpoint
from returns_service.web.routes import OPERATIONS
from tests.harness.node import run_node_tool
from tests.harness.served_shop import ServedShop, expect

PACKAGE = "returns_service_client"
MOST_MODELS = 250
NEW_LINES = [{"sku": "HAT", "quantity": 1, "total_amount": 5_000}]
RETURN_CHANGES: dict[str, Any] = {
    "metadata": {"desk": "2"},
    "internal_note": "Customer called.",
    "tracking_numbers": ["1Z2"],
    "customer_name": "Ann Other",
    "lines": NEW_LINES,
    "reason": "too_large",
    "customer_email": "other@example.com",
    "shipping_amount": 200,
    "shipping_tax_amount": 20,
}
ENDPOINT_CHANGES: dict[str, Any] = {
    "url": "https://shop.test/other",
    "events": ["refund.created"],
    "description": "Another one",
    "status": "disabled",
}


@pytest.fixture(scope="module")
def contract_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the contract as a file in a folder of its own."""
    path = tmp_path_factory.mktemp("contract") / "openapi.yaml"
    path.write_text(document(OPERATIONS), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def python_client(contract_file: Path) -> Iterator[Path]:
    """Generate a Python client, and let it be imported; return its package's folder."""
    settings, into = contract_file.with_name("settings.yaml"), contract_file.with_name("client")
    settings.write_text("post_hooks: []\n")
    program = Path(sys.executable).parent / "openapi-python-client"
    places = ["--path", str(contract_file), "--config", str(settings), "--output-path", str(into)]
    done = subprocess.run(
        [program, "generate", *places, "--fail-on-warning"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(into))
    yield into / PACKAGE
    sys.path.remove(str(into))


def client_of(shop: ServedShop) -> Any:
    """Return the generated client, speaking with this shop."""
    client = importlib.import_module(PACKAGE).AuthenticatedClient(base_url="http://shop.test", token=shop.secret)
    return client.set_async_httpx_client(shop.client)


def part(name: str) -> Any:
    """Return a module of the generated client."""
    return importlib.import_module(f"{PACKAGE}.{name}")


def only(model: Any, name: str, value: Any) -> Any:
    """Return a body of the generated client of which one field was set."""
    return model(**{name: getattr(model.from_dict({name: value}), name)})


def plain(answer: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Return the fields of an answer that a body can set."""
    return {name: answer[name] for name in names}


def test_a_client_has_a_class_for_each_thing_and_none_for_each_status(python_client: Path) -> None:
    models = list((python_client / "models").glob("*.py"))
    assert 50 < len(models) < MOST_MODELS
    assert not [path.name for path in models if "response" in path.name]


@pytest.mark.usefixtures("python_client")
@pytest.mark.parametrize("name", sorted(UpdateReturn.model_fields))
async def test_a_client_that_sets_one_field_of_a_return_changes_one_field(shop: ServedShop, name: str) -> None:
    made = await shop.create_return(
        customer_email="ann@example.com", customer_name="Ann", metadata={"a": "b"}, tracking_numbers=["1Z1"],
        reason="too_small", shipping_amount=100, payment=shop.pay(11_000),
    )  # fmt: skip
    body = only(part("models").UpdateReturn, name, RETURN_CHANGES[name])
    update = part("api.returns.update_return")
    answer = await update.asyncio(made["id"], client=client_of(shop), body=body)
    after, others = answer.to_dict(), UpdateReturn.model_fields.keys() - {name}
    assert plain(after, others) == plain(made, others)
    assert after[name] != made[name]


@pytest.mark.usefixtures("python_client")
@pytest.mark.parametrize("name", sorted(UpdateEndpoint.model_fields))
async def test_a_client_that_sets_one_field_of_an_endpoint_changes_one_field(shop: ServedShop, name: str) -> None:
    hook = {"url": "https://shop.test/hook", "events": ["*"], "description": "The shop"}
    made = expect(await shop.post("/v1/webhook_endpoints", hook), 201)
    body = only(part("models").UpdateEndpoint, name, ENDPOINT_CHANGES[name])
    update = part("api.outgoing_webhooks.update_webhook_endpoint")
    after = (await update.asyncio(made["id"], client=client_of(shop), body=body)).to_dict()
    others = UpdateEndpoint.model_fields.keys() - {name}
    assert plain(after, others) == plain(made, others)
    assert after[name] == ENDPOINT_CHANGES[name]


@pytest.mark.usefixtures("python_client")
async def test_a_client_leads_a_return_through_its_life(shop: ServedShop) -> None:
    client, models = client_of(shop), part("models")
    line = models.LineAsked(sku="SHIRT", quantity=2, total_amount=10_000)
    asked = models.CreateReturn(order_id="o1", payment_intent=shop.pay(10_000), currency="usd", lines=[line])
    made = await part("api.returns.create_return").asyncio(client=client, body=asked, idempotency_key="one")
    approval = models.Approve(override_reason="A test.")
    approved = await part("api.returns.approve_return").asyncio(made.id, client=client, body=approval)
    assert approved.state == "approved"
    count = models.CreateReceipt.from_dict({"lines": [{"sku": "SHIRT", "quantity": 1, "condition": "new"}]})
    create_receipt = part("api.receipts.create_receipt")
    receipt = await create_receipt.asyncio(made.id, client=client, body=count, idempotency_key="two")
    assert [line.quantity for line in receipt.lines] == [1]
    await shop.settle()
    page = await part("api.refunds.list_refunds").asyncio(client=client, return_=made.id)
    assert [(refund.amount, refund.status) for refund in page.data] == [(5_000, "succeeded")]


@pytest.mark.usefixtures("python_client")
async def test_a_client_reads_every_problem_by_one_class(shop: ServedShop) -> None:
    client, problem = client_of(shop), part("models").Problem
    read, update = part("api.returns.read_return"), part("api.returns.update_return")
    missing = await read.asyncio_detailed("ret_none", client=client)
    made = await shop.create_return()
    stale = await update.asyncio_detailed(
        made["id"], client=client, body=part("models").UpdateReturn(internal_note="x"), if_match='"99"'
    )
    for answer, status, code in ((missing, 404, "not_found"), (stale, 412, "version_mismatch")):
        assert type(answer.parsed) is problem
        assert (answer.status_code, answer.parsed.status, answer.parsed.code) == (status, status, code)


USE = """\
import type { components, operations } from "./types";

type Body<K extends keyof components["schemas"]> = components["schemas"][K];
export const note: Body<"UpdateReturn"> = { internal_note: "x" };
export const endpoint: Body<"UpdateEndpoint"> = { status: "disabled" };
export const asked: Body<"CreateReturn"> = {
  order_id: "o1", payment_intent: "pi_1", currency: "usd", lines: [{ sku: "A", quantity: 1, total_amount: 1 }],
};
export const count: Body<"CreateReceipt"> = { lines: [{ sku: "A", quantity: 1, condition: "new" }] };
// @ts-expect-error: no such condition
export const wrong: Body<"CreateReceipt"> = { lines: [{ sku: "A", quantity: 1, condition: "shiny" }] };
type Answers = operations["update_return"]["responses"];
export const reload = (problem: Answers[412]["content"]["application/problem+json"]): boolean =>
  problem.code === "version_mismatch";
export const paid = (one: Answers[200]["content"]["application/json"]): boolean => one.state === "refunded";
"""


def test_typescript_takes_bodies_with_only_what_is_required(contract_file: Path) -> None:
    folder = contract_file.parent
    run_node_tool("openapi-typescript", contract_file.name, "-o", "types.ts", folder=folder)
    (folder / "use.ts").write_text(USE)
    run_node_tool("tsc", "--strict", "--noEmit", "--target", "es2022", "use.ts", folder=folder)
