"""The dock: counted, surplus, unknown, miscounted, inspected. It is never refused for what it holds."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.served_shop import ServedShop, expect


async def test_a_count_is_a_receipt_that_can_be_read_again(shop: ServedShop) -> None:
    made = await shop.create_approved_return()
    body = {"lines": [{"line": made["lines"][0]["id"], "quantity": 2, "condition": "opened"}], "scan_id": "s1"}
    answer = await shop.post(f"/v1/returns/{made['id']}/receipts", body)
    receipt = expect(answer, 201)
    assert (receipt["return"], receipt["reversed"], receipt["scan_id"]) == (made["id"], False, "s1")
    assert receipt["received_by"].startswith("key_")
    line = receipt["lines"][0]
    assert (line["quantity"], line["condition"], line["disposition"], line["accepted"]) == (
        2,
        "opened",
        "restock",
        True,
    )
    assert expect(await shop.get(answer.headers["location"]), 200) == receipt
    listed = expect(await shop.get(f"/v1/returns/{made['id']}/receipts"), 200)
    assert (listed["object"], listed["data"]) == ("list", [receipt])


@pytest.mark.parametrize("condition, accepted", [("damaged", 1), ("missing", 0), ("wrong_item", 0)])
async def test_only_accepted_conditions_are_paid(shop: ServedShop, condition: str, accepted: int) -> None:
    made = await shop.create_approved_return(quantity=1)
    await shop.receive_parcel(made["id"], 1, condition)
    line = (await shop.read_return(made["id"]))["lines"][0]
    counts = (line["received_quantity"], line["accepted_quantity"], line["rejected_quantity"])
    assert counts == (1, accepted, 1 - accepted)


async def test_a_scan_sent_twice_counts_once_even_without_a_key(shop: ServedShop) -> None:
    made = await shop.create_approved_return()
    where = f"/v1/returns/{made['id']}/receipts"
    body = {"lines": [{"sku": "SHIRT", "quantity": 1, "condition": "new"}], "scan_id": "s1"}
    first = expect(await shop.post(where, body, key=None), 201)
    again = await shop.post(where, body, key=None)
    assert expect(again, 201) == first
    assert again.headers["idempotent-replayed"] == "true"
    body["lines"][0]["quantity"] = 2  # type: ignore[index]
    expect(await shop.post(where, body, key=None), 422, "scan_id_reused")
    assert (await shop.read_return(made["id"]))["lines"][0]["received_quantity"] == 1


async def test_without_scan_id_and_key_nothing_is_counted(shop: ServedShop) -> None:
    made = await shop.create_approved_return()
    body = {"lines": [{"sku": "SHIRT", "quantity": 1, "condition": "new"}]}
    expect(await shop.post(f"/v1/returns/{made['id']}/receipts", body, key=None), 400, "idempotency_key_required")
    assert (await shop.count_rows())["Receipt"] == 0


async def test_surplus_and_unknown_units_are_set_aside_not_refused(shop: ServedShop) -> None:
    made = await shop.create_approved_return(quantity=1)
    lines = [
        {"sku": "SHIRT", "quantity": 2, "condition": "new"},
        {"sku": "SOCKS", "quantity": 1, "condition": "opened"},
    ]
    extra = [{"sku": "HAT", "quantity": 1, "note": "in the same box"}]
    receipt = expect(await shop.post(f"/v1/returns/{made['id']}/receipts", {"lines": lines, "undeclared": extra}), 201)
    assert [(item["sku"], item["quantity"]) for item in receipt["undeclared"]] == [
        ("SHIRT", 1),
        ("SOCKS", 1),
        ("HAT", 1),
    ]
    case = await shop.read_return(made["id"])
    assert (case["lines"][0]["accepted_quantity"], len(case["undeclared"])) == (1, 3)


async def test_an_unknown_line_id_is_an_error_that_names_it(shop: ServedShop) -> None:
    made = await shop.create_approved_return()
    body = {"lines": [{"line": "rli_nobody", "quantity": 1, "condition": "new"}]}
    problem = expect(await shop.post(f"/v1/returns/{made['id']}/receipts", body), 422, "unknown_line")
    assert problem["param"] == "lines[0].line"
    assert (await shop.count_rows())["Receipt"] == 0


async def test_a_miscount_is_undone_while_its_refund_is_unsent(shop: ServedShop) -> None:
    made = await shop.create_approved_return(quantity=1)
    receipt = await shop.receive_parcel(made["id"])
    where = f"/v1/returns/{made['id']}/receipts/{receipt['id']}/reverse"
    undone = expect(await shop.post(where, {"reason": "Wrong parcel."}), 200)
    assert (undone["reversed"], undone["reversed_reason"]) == (True, "Wrong parcel.")
    case = await shop.read_return(made["id"])
    assert (case["state"], case["lines"][0]["received_quantity"]) == ("approved", 0)
    assert [r["status"] for r in case["refunds"]] == ["withdrawn"]
    again = expect(await shop.post(where, {"reason": "Again."}), 409, "receipt_reversed")
    assert again["reversed_at"] == undone["reversed_at"], "a time is written in one way everywhere"
    await shop.settle()
    assert len(shop.ledger.refunds) == 0


async def test_a_miscount_that_is_paid_stands(shop: ServedShop) -> None:
    made = await shop.create_approved_return(quantity=1)
    receipt = await shop.receive_parcel(made["id"])
    await shop.settle()
    where = f"/v1/returns/{made['id']}/receipts/{receipt['id']}/reverse"
    expect(await shop.post(where, {"reason": "Wrong parcel."}), 409, "already_refunded")


async def test_units_set_aside_for_inspection_are_paid_after_it(shop: ServedShop) -> None:
    made = await shop.create_approved_return(quantity=2)
    receipt = await shop.receive_parcel(made["id"], 2, "opened", disposition="inspect")
    waiting = await shop.read_return(made["id"])
    assert (waiting["lines"][0]["inspecting_quantity"], waiting["refunds"]) == (2, [])
    line = {"line": made["lines"][0]["id"], "condition": "new", "disposition": "restock", "quantity": 1}
    where = f"/v1/returns/{made['id']}/receipts/{receipt['id']}/inspect"
    found = expect(await shop.post(where, {"lines": [line]}), 200)
    assert {(row["quantity"], row["accepted"]) for row in found["lines"]} == {(1, None), (1, True)}
    assert [r["amount"] for r in (await shop.read_return(made["id"]))["refunds"]] == [5000]
    for lines, param, says in (
        ([line | {"quantity": 2}], "lines[0].quantity", "1 unit waited"),
        ([line, line], "lines[1].line", "No unit of the line"),
    ):
        problem = expect(await shop.post(where, {"lines": lines}), 409, "nothing_to_inspect")
        assert (problem["param"], says in problem["detail"]) == (param, True)
    strange = line | {"line": "rli_01h455vb4pex5vsknk084sn02q"}
    assert expect(await shop.post(where, {"lines": [strange]}), 422, "unknown_line")["param"] == "lines[0].line"


async def test_nobody_inspects_a_surplus(shop: ServedShop) -> None:
    """Of one unit announced two came: what was set aside waits as an undeclared item once the other one is counted."""
    made = await shop.create_approved_return(5000, 1)
    receipt = await shop.receive_parcel(made["id"], 1, "opened", disposition="inspect")
    other = await shop.receive_parcel(made["id"], 1)
    shown = await shop.read_return(made["id"])
    (item,) = shown["undeclared"]
    assert (shown["lines"][0]["inspecting_quantity"], item["decision"]) == (0, None)
    assert "inspect" in shown["barred_actions"]
    finding = {"line": made["lines"][0]["id"], "condition": "opened", "disposition": "restock"}
    where = f"/v1/returns/{made['id']}/receipts"
    expect(await shop.post(f"{where}/{receipt['id']}/inspect", {"lines": [finding]}), 409, "nothing_to_inspect")
    expect(await shop.post(f"{where}/{other['id']}/reverse", {"reason": "Another parcel."}), 200)
    assert "inspect" in (await shop.read_return(made["id"]))["available_actions"]
    expect(await shop.post(f"{where}/{receipt['id']}/inspect", {"lines": [finding]}), 200)
    await shop.settle()
    assert (await shop.read_return(made["id"]))["amount_refunded"] == 5000


@pytest.mark.parametrize("decision, refunded", [("accept_as_line", 1), ("return_to_customer", 0), ("scrap", 0)])
async def test_what_nobody_announced_is_decided_once(shop: ServedShop, decision: str, refunded: int) -> None:
    made = await shop.create_approved_return(quantity=2)
    body: dict[str, Any] = {"undeclared": [{"sku": "SHRIT", "quantity": 1}]}
    receipt = expect(await shop.post(f"/v1/returns/{made['id']}/receipts", body), 201)
    where = f"/v1/returns/{made['id']}/undeclared/{receipt['undeclared'][0]['id']}/resolve"
    asked = {"decision": decision, **({"line": made["lines"][0]["id"]} if refunded else {})}
    done = expect(await shop.post(where, asked), 200)
    assert done["undeclared"][0]["decision"] == decision
    assert len((await shop.read_return(made["id"]))["refunds"]) == refunded
    expect(await shop.post(where, asked), 409, "undeclared_resolved")


async def test_shipping_that_came_due_with_a_miscounted_gift_is_taken_back_with_it(
    shop: ServedShop, with_policy: Any
) -> None:
    with_policy(shipping_refunded="full_return", refund_delay=600)
    lines = [{"sku": "SHIRT", "quantity": 1, "total_amount": 9000}, {"sku": "GIFT", "quantity": 1, "total_amount": 0}]
    made = await shop.create_approved_return(lines=lines, shipping_amount=500)
    await shop.receive_parcel(made["id"])
    shop.advance(601)
    await shop.settle()
    where, gift = f"/v1/returns/{made['id']}/receipts", {"sku": "GIFT", "quantity": 1, "condition": "new"}
    counted = expect(await shop.post(where, {"lines": [gift]}), 201)
    expect(await shop.post(f"{where}/{counted['id']}/reverse", {"reason": "It was the box."}), 200)
    shop.advance(601)
    await shop.settle()
    paid = [(refund["amount"], refund["status"]) for refund in (await shop.read_return(made["id"]))["refunds"]]
    assert paid == [(9000, "succeeded"), (500, "withdrawn")]


async def test_b7_whoever_may_not_read_returns_is_shown_the_receipt_alone(shop: ServedShop) -> None:
    """B7: `resolve` answered the whole return to a key of the dock's: name, address, and what was paid."""
    made = await shop.create_approved_return(customer_email="anna@example.com")
    asked = {"lines": [], "undeclared": [{"sku": sku, "quantity": 1} for sku in ("HAT", "SOCKS", "MUG")]}
    receipt = expect(await shop.post(f"/v1/returns/{made['id']}/receipts", asked), 201)
    names = [item["id"] for item in receipt["undeclared"]]
    dock, desk = await shop.create_key("receipts:write"), await shop.create_key("receipts:write", "returns:read")
    where, body = f"/v1/returns/{made['id']}/undeclared", {"decision": "scrap"}

    async def resolve(name: str, secret: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {secret}"}
        answers = [await shop.post(f"{where}/{name}/resolve", body, key=f"once {name}", **headers) for _ in range(2)]
        assert answers[0].content == answers[1].content
        assert answers[0].headers["etag"]
        return expect(answers[0], 200)

    shown = await resolve(names[0], dock)
    assert (shown["object"], shown["id"]) == ("receipt", receipt["id"])
    assert "anna" not in str(shown)
    assert [item["decision"] for item in shown["undeclared"]] == ["scrap", None, None]
    assert (await resolve(names[1], desk))["object"] == "return"
    assert expect(await shop.post(f"{where}/{names[2]}/resolve", body), 200)["object"] == "return", "an admin's key"
