"""The contract: complete, the same at each export, and true to what is answered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

import returns_service
from returns_service.domain.problems import PROBLEMS
from returns_service.domain.vocabulary import EVENT_TYPES
from returns_service.return_case.views.event_data import EVENT_KINDS
from returns_service.web.api.openapi import contract, document
from returns_service.web.api.openapi_words import ANSWERS, BODIES, WHO
from returns_service.web.operations.bodies import validate
from returns_service.web.operations.webhook_endpoints import check_url
from returns_service.web.routes import OPERATIONS
from tests.factories.reconciliation import create_reconciliation_run
from tests.harness.node import run_node_tool
from tests.harness.served_shop import ServedShop, expect

CONTRACT = contract(OPERATIONS)
WRITES = [operation for operation in OPERATIONS if operation.method == "POST"]


def strict(schema: Any) -> Any:
    """The same shape, but a field that it doesn't tell of is an error."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: part if name in ("if", "else") else strict(part) for name, part in schema.items()}
    if "properties" in closed and "required" in closed and "additionalProperties" not in closed:
        closed["additionalProperties"] = False
    return closed


def wrong(name: str, answer: Any) -> list[str]:
    """What of an answer is not as the contract says."""
    return wrong_by({"$ref": f"#/components/schemas/{name}"}, answer)


def wrong_by(schema: Any, value: Any) -> list[str]:
    """What of a value is not as a schema says, whose links lead into the contract."""
    found = Draft202012Validator({"$ref": "urn:contract#/$defs/it"}, registry=REGISTRY.with_resource(
        "urn:contract", Resource.from_contents({**CLOSED, "$defs": {"it": strict(schema)}}, DRAFT202012)
    ), format_checker=Draft202012Validator.FORMAT_CHECKER).iter_errors(value)  # fmt: skip
    return [f"{error.json_path}: {error.message}"[:300] for error in found]


CLOSED = {"components": strict(CONTRACT["components"])}
REGISTRY: Registry[Any] = Registry()


def test_the_contract_is_the_same_at_each_export_and_plain_yaml() -> None:
    text = document(OPERATIONS)
    assert yaml.load(text, yaml.CSafeLoader) == json.loads(json.dumps(CONTRACT))
    assert "&id" not in text


def test_every_link_leads_somewhere() -> None:
    links = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(CONTRACT)))
    assert links <= set(CONTRACT["components"]["schemas"])
    for name, schema in CONTRACT["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert schema, name


def test_every_operation_has_its_name_summary_errors_and_example() -> None:
    names = [one["operationId"] for path in CONTRACT["paths"].values() for one in path.values()]
    assert len(names) == len(set(names))
    for path, methods in CONTRACT["paths"].items():
        for method, one in methods.items():
            assert re.fullmatch(r"[a-z]+(_[a-z]+)+", one["operationId"])
            assert one["summary"], path
            assert one["tags"][0] in {tag["name"] for tag in CONTRACT["tags"]}
            if path.startswith("/v1/"):
                assert {"401", "403", "429", "503"} <= set(one["responses"])
            if method == "post":
                assert "example" in one["requestBody"]["content"]["application/json"]


@pytest.mark.parametrize("name", [operation.name for operation in WRITES])
def test_the_example_of_every_body_is_accepted(name: str) -> None:
    operation = next(operation for operation in WRITES if operation.name == name)
    assert operation.body is not None
    validate(operation.body, dict(operation.example or {}))


def inside(part: Any) -> Iterator[dict[str, Any]]:
    """Yield all objects inside a schema."""
    for one in part if isinstance(part, list) else part.values() if isinstance(part, dict) else ():
        yield from inside(one)
    if isinstance(part, dict):
        yield part


@pytest.mark.parametrize("name", [operation.name for operation in WRITES])
def test_a_body_has_bounds_and_no_default_that_a_client_would_send(name: str) -> None:
    body = next(one for path in CONTRACT["paths"].values() for one in path.values() if one["operationId"] == name)
    shape = body["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    parts = list(inside(CONTRACT["components"]["schemas"][shape]))
    assert parts
    assert not [part for part in parts if "default" in part]
    assert [part for part in parts if part.get("type") == "integer" and not part.keys() >= {"minimum", "maximum"}] == []


def test_every_field_of_a_body_is_explained_and_no_explanation_is_left_over() -> None:
    bodies = {name: one for name, one in CONTRACT["components"]["schemas"].items() if not name.islower()}
    fields = {(name, field): part for name, one in bodies.items() for field, part in one.get("properties", {}).items()}
    assert len(fields) > 100
    assert [place for place, part in fields.items() if not part.get("description", "").endswith(".")] == []
    said = {str(part.get("description")) for part in inside(CONTRACT["components"]["schemas"])}
    assert [name for words in (BODIES, ANSWERS) for name, word in words.items() if word not in said] == []


def test_every_field_of_an_answer_is_explained() -> None:
    """One that has one word only, or is a thing of its own with a sentence there, needs none."""
    schemas = CONTRACT["components"]["schemas"]
    answers = {name: schema for name, schema in schemas.items() if name.islower()}
    fields = {(name, field): part for name, one in answers.items() for field, part in one.get("properties", {}).items()}
    assert len(fields) > 500
    assert [place for place, part in fields.items() if not {"description", "const", "$ref"} & part.keys()] == []


def test_every_actor_is_explained() -> None:
    """`import` and `reconcile` were in histories, and in no document."""
    code = "".join(path.read_text("utf-8") for path in Path(returns_service.__file__).parent.rglob("*.py"))
    parts = set(re.findall(r'Actor\("([a-z_]+)"', code))
    assert len(parts) > 4
    assert [name for name in parts if f"`{name}`" not in WHO] == []


def kinds_of(part: dict[str, Any]) -> list[str]:
    """Return the types that a part of a schema may have."""
    return [part["type"]] if isinstance(part["type"], str) else list(part["type"])


def test_what_is_asked_is_bounded_in_every_part() -> None:
    asked = [one["schema"] for path in CONTRACT["paths"].values() for method in path.values()
             for one in method.get("parameters", ())]  # fmt: skip
    asked += [CONTRACT["components"]["schemas"][operation.body.__name__] for operation in WRITES if operation.body]
    bounds = {
        "string": {"maxLength", "pattern", "enum", "format", "const"},
        "array": {"maxItems", "enum"},
        "integer": {"maximum"},
    }
    parts = [part for schema in asked for part in inside(schema) if part.get("type")]
    kinds = [(part, kind) for part in parts for kind in kinds_of(part)]
    assert len(kinds) > 200
    assert [part for part, kind in kinds if kind in bounds and not bounds[kind] & part.keys()] == []


def test_a_filter_by_a_closed_list_names_its_words() -> None:
    for operation in OPERATIONS:
        for name, one in operation.parameters.items():
            if name in ("state", "status", "kind", "type", "code", "outcome"):
                assert one.schema["items"]["enum"], (operation.name, name)


def test_every_answered_number_and_time_says_what_it_is() -> None:
    answers = [schema for name, schema in CONTRACT["components"]["schemas"].items() if name.islower()]
    numbers = [part for part in inside(answers) if "integer" in str(part.get("type"))]
    assert len(numbers) > 40
    assert [part for part in numbers if not {"minimum", "format"} & part.keys()] == []
    times = {"created", "updated", "since"}
    for schema in answers:
        for name, part in schema.get("properties", {}).items():
            if "const" not in part and (name in times or name.endswith("_at")):
                assert part.get("format") == "date-time", name


def test_every_type_of_event_is_a_webhook_with_its_payload() -> None:
    assert list(CONTRACT["webhooks"]) == [*EVENT_TYPES, "ping"] == list(EVENT_KINDS)
    schemas, names = CONTRACT["components"]["schemas"], set()
    for kind, path in CONTRACT["webhooks"].items():
        link = path["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        payload = schemas[link.rpartition("/")[2]]
        names.add(link)
        assert payload["properties"]["type"]["const"] == kind
        assert schemas[payload["properties"]["data"]["$ref"].rpartition("/")[2]]["type"] == "object"
    assert {one["$ref"] for one in schemas["event"]["oneOf"]} == names
    assert schemas["event"]["discriminator"]["mapping"].keys() == CONTRACT["webhooks"].keys()


def links() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield all links: the operations' ids, from and to, and the parameters."""
    for path in CONTRACT["paths"].values():
        for one in path.values():
            for answer in one["responses"].values():
                for link in answer.get("links", {}).values():
                    yield one["operationId"], link["operationId"], link["parameters"]


def test_links_lead_to_every_operation() -> None:
    paths = {operation.name: set(re.findall(r"\{(\w+)\}", operation.path)) for operation in OPERATIONS}
    reached = {name for name, parameters in paths.items() if not parameters}
    found = list(links())
    for _ in found:
        reached |= {target for source, target, _ in found if source in reached}
    assert reached == paths.keys()
    for source, target, parameters in found:
        assert parameters.keys() == paths[target], (source, target)


def examples_shown() -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield what a reader is shown an example of: its place, its schema, and the part that holds the example."""
    for path in (*CONTRACT["paths"].values(), *CONTRACT["webhooks"].values()):
        for one in path.values():
            name = one["operationId"]
            for parameter in one.get("parameters", ()):
                if parameter["in"] == "path":
                    yield f"{name} {parameter['name']}", parameter["schema"], parameter
            if "requestBody" in one:
                part = one["requestBody"]["content"]["application/json"]
                yield f"{name} body", part["schema"], part
            for status, answer in one["responses"].items():
                if status.startswith("2") and "application/json" in answer.get("content", {}):
                    part = answer["content"]["application/json"]
                    yield f"{name} {status}", part["schema"], part


def test_every_id_body_and_answer_has_an_example_that_is_as_the_contract_says() -> None:
    shown = list(examples_shown())
    assert len(shown) > 150
    assert [place for place, _, part in shown if "example" not in part] == []
    found = {place: wrong_by(schema, part["example"]) for place, schema, part in shown}
    assert {place: errors for place, errors in found.items() if errors} == {}


async def test_links_name_what_is_there(shop: ServedShop) -> None:
    made = await shop.create_approved_return(quantity=2)
    receipt = await shop.receive_parcel(made["id"], 1)
    extra = {"undeclared": [{"sku": "HAT", "quantity": 1}]}
    undeclared = expect(await shop.post(f"/v1/returns/{made['id']}/receipts", extra), 201)
    await shop.settle()
    expect(await shop.post("/v1/receipts", {"items": [{"sku": "A", "quantity": 1, "condition": "new"}]}), 201)
    endpoint = expect(await shop.post("/v1/webhook_endpoints", {"url": "https://shop.test/h", "events": ["*"]}), 201)
    expect(await shop.post(f"/v1/webhook_endpoints/{endpoint['id']}/test"), 202)
    async with shop.db.transaction() as tx:
        await create_reconciliation_run(tx)
    by_name = {operation.name: operation for operation in OPERATIONS}
    ids = {"return_id": made["id"], "receipt_id": undeclared["id"]}
    followed = set()
    for source, target, parameters in links():
        if by_name[source].method != "GET" or set(re.findall(r"\{(\w+)\}", by_name[source].path)) - ids.keys():
            continue
        answer = expect(await shop.get(by_name[source].path.format(**ids)), 200)
        values = {name: resolved(answer, place) for name, place in parameters.items()}
        if by_name[target].method == "GET":
            expect(await shop.get(by_name[target].path.format(**values)), 200)
        followed.add(target)
    assert receipt["id"] != undeclared["id"]
    assert followed >= {operation.name for operation in OPERATIONS if "{" in operation.path}


def resolved(answer: Any, place: str) -> Any:
    """Return what a runtime expression such as `$response.body#/data/0/id` names."""
    for step in place.removeprefix("$response.body#/").split("/"):
        answer = answer[int(step)] if isinstance(answer, list) else answer[step]
    return answer


def test_a_linter_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "openapi.yaml").write_text(document(OPERATIONS), encoding="utf-8")
    printed = run_node_tool("redocly", "lint", "openapi.yaml", "--extends", "recommended", folder=tmp_path)
    assert "valid" in printed
    assert "warning" not in printed.replace("Deprecation warning", "")


def test_clients_have_one_class_for_all_problems() -> None:
    operations = [one for path in CONTRACT["paths"].values() for one in path.values()]
    answers = [(status, answer) for one in operations for status, answer in one["responses"].items()]
    problems = [
        (int(status), answer["content"]["application/problem+json"]["schema"])
        for status, answer in answers
        if "application/problem+json" in answer.get("content", {}) and status != "4XX"
    ]
    assert len(problems) > 100
    for status, schema in problems:
        codes = schema["properties"]["code"]["enum"]
        assert schema == {"$ref": "#/components/schemas/problem", "properties": {"code": {"enum": codes}}}
        assert {PROBLEMS[code].status for code in codes} == {status}


def test_what_passes_says_when_to_come_back() -> None:
    operations = [one for path in CONTRACT["paths"].values() for one in path.values() if "security" not in one]
    answers = [answer for one in operations for status, answer in one["responses"].items() if status in ("429", "503")]
    assert len(answers) == 2 * len(OPERATIONS)
    assert all("Retry-After" in answer["headers"] for answer in answers)
    conflicts = [one["responses"]["409"] for one in operations if "409" in one["responses"]]
    waits = [one for one in conflicts if "idempotency_key_in_use" in one["description"]]
    assert waits
    assert all("Retry-After" in answer["headers"] for answer in waits), "it is answered with one, too"


def test_what_asks_stripe_says_both_ways_in_which_it_may_not_answer() -> None:
    """Two operations told of the outage alone, and answered `stripe_refuses_us` as well."""
    away = {operation.name for operation in OPERATIONS if "stripe_unavailable" in operation.errors}
    refuses = {operation.name for operation in OPERATIONS if "stripe_refuses_us" in operation.errors}
    asking = {operation.name for operation in OPERATIONS if operation.before_transaction not in (None, check_url)}
    assert away == refuses == asking


async def test_answers_are_as_the_contract_says(shop: ServedShop) -> None:
    made = await shop.create_approved_return(
        quantity=2, card="pm_card_refundFail", customer_email="a@b.c", metadata={"a": "b"}
    )
    lines = [{"sku": "SHIRT", "quantity": 3, "condition": "opened"}]
    receipt = expect(await shop.post(f"/v1/returns/{made['id']}/receipts", {"lines": lines}), 201)
    await shop.settle()
    expand = "expand[]=payment&expand[]=refunds&expand[]=events"
    case = expect(await shop.get(f"/v1/returns/{made['id']}?{expand}"), 200)
    assert case["state"] == "failed"
    refund = case["refunds"][0]
    answers = {
        "return": case,
        "return_list": expect(await shop.get("/v1/returns"), 200),
        "receipt": receipt,
        "receipt_list": expect(await shop.get(f"/v1/returns/{made['id']}/receipts"), 200),
        "refund": expect(await shop.get(f"/v1/refunds/{refund['id']}?expand[]=return"), 200),
        "refund_list": expect(await shop.get("/v1/refunds"), 200),
        "refund_preview": expect(await shop.get(f"/v1/returns/{made['id']}/refund_preview"), 200),
        "payment": expect(await shop.get(f"/v1/payments/{made['payment']}"), 200),
        "event_list": expect(await shop.get("/v1/events"), 200),
    }
    problem = expect(await shop.post("/v1/returns", {}), 422, "invalid_request")
    assert {name: wrong(name, answer) for name, answer in answers.items() if wrong(name, answer)} == {}
    assert wrong("problem", problem) == []


async def test_the_page_asks_no_other_host(shop: ServedShop) -> None:
    page = await shop.get("/docs", headers={"Authorization": ""})
    assert page.status_code == 200
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert links
    for link in links:
        assert "//" not in link
        answer = await shop.get(f"/{link}", headers={"Authorization": ""})
        assert (answer.status_code, bool(answer.content)) == (200, True), link
    assert "connect-src 'self'" in page.headers["content-security-policy"]
    served = await shop.get("/openapi.yaml", headers={"Authorization": ""})
    assert served.text.startswith("openapi: 3.1.0\n")
