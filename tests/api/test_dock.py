"""The dock's odd days: corrections, scans, parcels for nobody, parcels too early and too late."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from typing import Any

import pytest

from returns_service.domain.return_machine import DORMANT
from tests.api.test_openapi import wrong
from tests.harness.served_shop import ServedShop, expect

NEW, MISSING = {"condition": "new"}, {"condition": "missing"}


async def count(shop: ServedShop, return_id: str, *lines: dict[str, Any]) -> dict[str, Any]:
    """Return one receipt of these lines."""
    sent = [{"sku": "SHIRT", "quantity": 1, **line} for line in lines]
    return expect(await shop.post(f"/v1/returns/{return_id}/receipts", {"lines": sent}), 201)


async def correct(shop: ServedShop, receipt: dict[str, Any], before: str, after: str, quantity: int = 1) -> Any:
    """Ask for a correction of a receipt's first line."""
    line = {"line": (await shop.read_return(receipt["return"]))["lines"][0]["id"], "quantity": quantity}
    body = {"lines": [{**line, "from": before, "to": after}], "reason": "Looked again."}
    return await shop.post(f"/v1/returns/{receipt['return']}/receipts/{receipt['id']}/correct", body)


async def on_the_desk(shop: ServedShop, kind: str) -> list[dict[str, Any]]:
    page = expect(await shop.get(f"/v1/desk?kind={kind}"), 200)
    assert wrong("desk_item_list", page) == []
    assert page["totals"][kind] == len(page["data"])
    return list(page["data"])


def line_of(case: dict[str, Any]) -> tuple[int, int, int]:
    line = case["lines"][0]
    return line["accepted_quantity"], line["rejected_quantity"], line["received_quantity"]


@pytest.mark.parametrize("sooner", ["missing", "wrong_item"])
async def test_a_missing_unit_that_comes_later_is_paid(shop: ServedShop, sooner: str) -> None:
    """C1: it takes the place of the one counted as missing, beside a paid one."""
    made = await shop.create_approved_return(quantity=2)
    first = await count(shop, made["id"], NEW, {"condition": sooner})
    await shop.settle()
    assert line_of(await shop.read_return(made["id"])) == (1, 1, 2)
    second = await count(shop, made["id"], NEW)
    await shop.settle()
    case = await shop.read_return(made["id"])
    assert (line_of(case), case["state"], case["amount_refunded"]) == ((2, 0, 2), "refunded", 10_000)
    assert (second["undeclared"], case["undeclared"]) == ([], [])
    shown = expect(await shop.get(f"/v1/returns/{made['id']}/receipts/{first['id']}"), 200)
    assert wrong("receipt", shown) == []
    counted = [(row["condition"], row["quantity"], row["counted_quantity"]) for row in shown["lines"]]
    assert counted == [("new", 1, 1), (sooner, 1, 0)]


async def test_receipts_in_any_order_end_in_the_same_counts_and_money(shop: ServedShop) -> None:
    """C1: five parcels for three units, one of them a miscount that is reversed."""
    parcels: list[dict[str, Any]] = [
        {"condition": "missing", "quantity": 2},
        {"condition": "opened", "disposition": "inspect"},
        {"condition": "new"},
        {"condition": "damaged", "quantity": 2},
    ]
    ends = set()
    for order in list(permutations(range(4)))[::5]:
        made = await shop.create_approved_return(quantity=3)
        receipts = {number: await count(shop, made["id"], parcels[number]) for number in order}
        miscount = await count(shop, made["id"], NEW)
        where = f"/v1/returns/{made['id']}/receipts/{miscount['id']}/reverse"
        expect(await shop.post(where, {"reason": "Scanned twice."}), 200)
        await shop.settle()
        case = await shop.read_return(made["id"])
        waiting = case["lines"][0]["inspecting_quantity"]
        surplus = sum(item["quantity"] for item in case["undeclared"])
        ends.add((*line_of(case), waiting, surplus, case["amount_refunded"], case["amount_due"]))
        assert len(receipts) == 4
    assert ends == {(3, 0, 3, 0, 1, 10_000, 0)}


async def test_a_scan_that_was_doubled_is_reversed_after_the_refund(shop: ServedShop) -> None:
    """C1: the other receipt's unit fills the line, so nothing that was paid is worth less."""
    made = await shop.create_approved_return(quantity=1)
    first = await count(shop, made["id"], NEW)
    second = await count(shop, made["id"], NEW)
    assert [(item["sku"], item["quantity"]) for item in second["undeclared"]] == [("SHIRT", 1)]
    await shop.settle()
    expect(await shop.post(f"/v1/returns/{made['id']}/receipts/{first['id']}/reverse", {"reason": "Twice."}), 200)
    case = await shop.read_return(made["id"])
    assert (case["state"], line_of(case), case["undeclared"]) == ("refunded", (1, 0, 1), [])
    where = f"/v1/returns/{made['id']}/receipts/{second['id']}/reverse"
    expect(await shop.post(where, {"reason": "Twice."}), 409, "already_refunded")


async def test_a_correction_up_is_paid(shop: ServedShop) -> None:
    """C1: what is unpaid follows."""
    made = await shop.create_approved_return(quantity=2)
    receipt = await count(shop, made["id"], NEW, MISSING)
    await shop.settle()
    done = expect(await correct(shop, receipt, "missing", "opened"), 200)
    assert wrong("receipt", done) == []
    assert sorted((row["condition"], row["disposition"]) for row in done["lines"]) == [
        ("new", "restock"),
        ("opened", "restock"),
    ]
    await shop.settle()
    case = await shop.read_return(made["id"])
    assert (case["state"], case["amount_refunded"], case["overpaid_amount"]) == ("refunded", 10_000, 0)
    types = [
        event["type"] for event in expect(await shop.get(f"/v1/returns/{made['id']}/events?limit=100"), 200)["data"]
    ]
    assert "receipt.corrected" in types


async def test_a_correction_down_of_what_is_paid_is_told_and_never_taken(shop: ServedShop) -> None:
    """C1: `overpaid_amount`, desk kind `return_overpaid`; the next line is paid in full."""
    lines = [{"sku": "SHIRT", "quantity": 1, "total_amount": 6000}, {"sku": "MUG", "quantity": 1, "total_amount": 4000}]
    made = await shop.create_approved_return(lines=lines)
    receipt = await count(shop, made["id"], NEW)
    await shop.settle()
    expect(await correct(shop, receipt, "new", "missing"), 200)
    case = await shop.read_return(made["id"])
    assert wrong("return", {name: value for name, value in case.items() if name != "refunds"}) == []
    assert (case["overpaid_amount"], case["amount_due"], case["amount_refunded"]) == (6000, 0, 6000)
    (item,) = await on_the_desk(shop, "return_overpaid")
    assert (item["return"], item["amount"], item["actions"]) == (made["id"], 6000, ["acknowledge"])
    await count(shop, made["id"], {"sku": "MUG", "condition": "new"})
    await shop.settle()
    case = await shop.read_return(made["id"])
    assert (case["amount_refunded"], case["overpaid_amount"], case["state"]) == (10_000, 6000, "refunded")
    where = f"/v1/returns/{made['id']}/acknowledge"
    expect(await shop.post(where, {"reason": "Kept as goodwill."}), 200)
    assert await on_the_desk(shop, "return_overpaid") == []
    expect(await shop.post(where, {"reason": "Again."}), 409, "nothing_overpaid")


@pytest.mark.parametrize("missing, overpaid", [(1, 0), (2, 4000)])
async def test_what_was_given_up_is_not_told_as_overpaid(
    shop: ServedShop, with_policy: Any, missing: int, overpaid: int
) -> None:
    """C1: 40.00 were paid of 90.00 for two units; without one they are worth 45.00, without both nothing."""
    with_policy(refund_on="manual")
    made = await shop.create_approved_return(9000, 2)
    receipt = await shop.receive_parcel(made["id"], 2)
    expect(await shop.post(f"/v1/returns/{made['id']}/refund", {"amount": 4000, "note": "Worn."}), 202)
    await shop.settle()
    gone = {"line": made["lines"][0]["id"], "from": "new", "to": "missing", "quantity": missing}
    where = f"/v1/returns/{made['id']}/receipts/{receipt['id']}/correct"
    expect(await shop.post(where, {"lines": [gone], "reason": "Looked again."}), 200)
    assert (await shop.read_return(made["id"]))["overpaid_amount"] == overpaid
    assert len(await on_the_desk(shop, "return_overpaid")) == (1 if overpaid else 0)


async def test_a_label_is_not_given_back_by_a_correction(shop: ServedShop, with_policy: Any) -> None:
    """C1: with the label's cost taken off what was paid, the sum paid is what is overpaid; it ends with the unit."""
    with_policy(label_cost={"usd": 500})
    made = await shop.create_approved_return(quantity=1)
    receipt = await count(shop, made["id"], NEW)
    await shop.settle()
    expect(await correct(shop, receipt, "new", "wrong_item"), 200)
    await shop.settle()
    case = await shop.read_return(made["id"])
    assert (case["amount_refunded"], case["amount_due"], case["overpaid_amount"]) == (9500, 0, 9500)
    await count(shop, made["id"], NEW)
    await shop.settle()
    case = await shop.read_return(made["id"])
    assert (case["amount_refunded"], case["overpaid_amount"]) == (9500, 0)
    assert await on_the_desk(shop, "return_overpaid") == []


async def test_a_correction_withdraws_what_is_unsent_and_supersedes_what_failed(shop: ServedShop) -> None:
    """C1: what is still due becomes a new refund."""
    made = await shop.create_approved_return(quantity=2)
    receipt = await count(shop, made["id"], {"condition": "new", "quantity": 2})
    expect(await correct(shop, receipt, "new", "missing"), 200)
    refunds = (await shop.read_return(made["id"]))["refunds"]
    assert [(refund["amount"], refund["status"]) for refund in refunds] == [(10_000, "withdrawn"), (5000, "queued")]
    made = await shop.create_approved_return(quantity=2, card="pm_card_refundFail")
    receipt = await count(shop, made["id"], {"condition": "new", "quantity": 2})
    await shop.settle()
    expect(await correct(shop, receipt, "new", "missing"), 200)
    case = await shop.read_return(made["id"])
    assert [(refund["amount"], refund["status"]) for refund in case["refunds"]] == [
        (10_000, "failed"),
        (5000, "queued"),
    ]
    assert case["refunds"][0]["superseded_at"] is not None
    assert (case["overpaid_amount"], case["state"]) == (0, "refunding")


async def test_a_refund_in_flight_bars_a_correction(shop: ServedShop) -> None:
    """C1: 409 `refund_in_progress`, nothing changed."""
    made = await shop.create_approved_return(quantity=1)
    receipt = await count(shop, made["id"], NEW)
    shop.faults.arm("drop_after")
    await shop.work()
    before = await shop.count_rows()
    expect(await correct(shop, receipt, "new", "missing"), 409, "refund_in_progress")
    told = await shop.read_return(made["id"])
    assert line_of(told) == (1, 0, 1)
    assert told["barred_actions"]["correct"] == "A refund of what was counted is on its way."
    after = await shop.count_rows()
    assert {name: after[name] for name in ("Refund", "Event")} == {name: before[name] for name in ("Refund", "Event")}


async def test_a_correction_of_more_than_was_counted_is_one_clear_error(shop: ServedShop) -> None:
    """C1: it names what was counted."""
    made = await shop.create_approved_return(quantity=3)
    receipt = await count(shop, made["id"], {"condition": "new", "quantity": 2})
    problem = expect(await correct(shop, receipt, "new", "opened", 3), 409, "units_not_counted")
    assert (problem["counted"], problem["param"]) == (2, "lines[0].quantity")
    expect(await correct(shop, receipt, "opened", "new"), 409, "units_not_counted")
    expect(await correct(shop, receipt, "new", "new"), 422, "invalid_request")
    expect(await correct(shop, receipt, "new", "lost"), 422, "invalid_request")
    where = f"/v1/returns/{made['id']}/receipts/{receipt['id']}"
    nobody = {"lines": [{"line": "rli_nobody", "from": "new", "to": "opened", "quantity": 1}], "reason": "x"}
    expect(await shop.post(f"{where}/correct", nobody), 422, "unknown_line")
    expect(await shop.post(f"{where}/reverse", {"reason": "x"}), 200)
    expect(await correct(shop, receipt, "new", "opened"), 409, "receipt_reversed")


@pytest.mark.parametrize("scan", ["shirt-m", "SHIRT-M\r", "\u00a0SHIRT-M ", "\uff33HIRT-M", "0036000291452"])
async def test_a_scan_counts_on_its_line_and_is_kept_as_it_was(shop: ServedShop, scan: str) -> None:
    """C2: the line's SKU and barcodes, as scanners read them."""
    line = {"sku": "SHIRT-M", "barcodes": ["036000291452"], "quantity": 2, "total_amount": 10_000}
    made = await shop.create_approved_return(lines=[line])
    assert made["lines"][0]["barcodes"] == ["036000291452"]
    receipt = await count(shop, made["id"], {"sku": scan, "condition": "new", "quantity": 3})
    assert [(row["sku"], row["scanned"], row["quantity"]) for row in receipt["lines"]] == [("SHIRT-M", scan, 2)]
    assert [(item["sku"], item["quantity"]) for item in receipt["undeclared"]] == [("SHIRT-M", 1)]
    exact = await count(shop, made["id"], {"sku": "SHIRT-M", "condition": "missing"})
    assert [row["scanned"] for row in exact["lines"]] == [None]


async def test_what_nobody_declared_waits_on_the_desk_and_bars_closing(shop: ServedShop) -> None:
    """C3: desk kind `undeclared_item`; `close` 409 `undeclared_open` unless `override_reason`."""
    made = await shop.create_approved_return(quantity=2)
    receipt = await count(
        shop, made["id"], NEW, {"sku": "SOCKS", "condition": "new"}, {"sku": "HAT", "condition": "new"}
    )
    await shop.settle()
    items = await on_the_desk(shop, "undeclared_item")
    assert sorted(item["undeclared_item"] for item in items) == sorted(item["id"] for item in receipt["undeclared"])
    assert {item["return"] for item in items} == {made["id"]}
    where = f"/v1/returns/{made['id']}"
    expect(await shop.post(f"{where}/close", {"reason": "No more comes."}), 409, "undeclared_open")
    socks = receipt["undeclared"][0]["id"]
    expect(await shop.post(f"{where}/undeclared/{socks}/resolve", {"decision": "return_to_customer"}), 200)
    assert len(await on_the_desk(shop, "undeclared_item")) == 1
    closed = await shop.post(f"{where}/close", {"reason": "No more comes.", "override_reason": "The hat is ours."})
    assert expect(closed, 200)["state"] == "refunded"


async def ended(shop: ServedShop, state: str) -> dict[str, Any]:
    """Return a return in one of the states in which nothing is paid, or one that is closed."""
    if state == "closed":
        made = await shop.create_approved_return(quantity=2)
        await count(shop, made["id"], NEW)
        await shop.settle()
        expect(await shop.post(f"/v1/returns/{made['id']}/close", {"reason": "No more comes."}), 200)
        return await shop.read_return(made["id"])
    made = await shop.create_return(quantity=2)
    path = {"declined": "decline", "canceled": "cancel"}.get(state)
    return expect(await shop.post(f"/v1/returns/{made['id']}/{path}", {"reason": "A test."}), 200) if path else made


@pytest.mark.parametrize("state", [*DORMANT, "closed"])
async def test_the_dock_is_never_refused(shop: ServedShop, state: str) -> None:
    """C4: counted, state unchanged, nothing paid; the desk says what to do."""
    made = await ended(shop, state)
    before = made["lines"][0]["received_quantity"]
    assert "receive" in made["available_actions"]
    receipt = await count(shop, made["id"], NEW)
    await shop.settle()
    case = await shop.read_return(made["id"])
    assert (case["state"], case["amount_refunded"]) == (made["state"], made["amount_refunded"])
    assert (case["amount_due"], case["lines"][0]["received_quantity"]) == (0, before + 1)
    assert receipt["unexpected"] is True
    (item,) = await on_the_desk(shop, "return_to_decide")
    assert (item["return"], item["actions"]) == (
        made["id"],
        ["approve", "decline"] if state == "requested" else ["reopen"],
    )
    assert item["code"] == f"units_{'before_decision' if state == 'requested' else f'after_{state}'}"
    where = f"/v1/returns/{made['id']}/receipts/{receipt['id']}/reverse"
    expect(await shop.post(where, {"reason": "Sent back."}), 200)
    assert await on_the_desk(shop, "return_to_decide") == []
    assert (await shop.read_return(made["id"]))["state"] == made["state"]


async def test_what_came_before_the_decision_is_paid_by_it(shop: ServedShop, with_policy: Any) -> None:
    """C4: approved, the counted units are judged by the policy in force then, and paid."""
    made = await shop.create_return(quantity=2)
    receipt = await count(shop, made["id"], NEW, {"condition": "opened"})
    change = {"lines": [{"sku": "MUG", "quantity": 1, "total_amount": 10_000}]}
    expect(await shop.post(f"/v1/returns/{made['id']}", change), 409, "units_received")
    expect(await shop.post(f"/v1/returns/{made['id']}", {"reason": "too_small"}), 200)
    with_policy(accepted_conditions=("new",))
    expect(await shop.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "A test."}), 200)
    await shop.settle()
    case = await shop.read_return(made["id"])
    assert (line_of(case), case["amount_refunded"]) == ((1, 1, 2), 5000)
    assert await on_the_desk(shop, "return_to_decide") == []
    assert expect(await shop.get(f"/v1/returns/{made['id']}/receipts/{receipt['id']}"), 200)["unexpected"] is False


async def test_a_parcel_of_nobody_waits_and_is_counted_once(shop: ServedShop) -> None:
    """C5: unmatched on the desk, attached once, freed by reversing its receipt."""
    body = {
        "order_id": "order_98765",
        "tracking_number": "1Z999",
        "note": "No slip.",
        "items": [
            {"sku": "shirt", "quantity": 1, "condition": "new"},
            {"sku": "HAT", "quantity": 1, "condition": "new"},
        ],
    }
    answer = await shop.post("/v1/receipts", body)
    parcel = expect(answer, 201)
    assert wrong("unmatched_receipt", parcel) == []
    where = answer.headers["location"]
    assert expect(await shop.get(where), 200) == parcel
    assert expect(await shop.get("/v1/receipts?attached=false&tracking_number=1Z999"), 200)["data"] == [parcel]
    (item,) = await on_the_desk(shop, "unmatched_receipt")
    assert (item["unmatched_receipt"], item["order_id"]) == (parcel["id"], "order_98765")
    made = await shop.create_approved_return(quantity=1)
    attached = expect(await shop.post(f"{where}/attach", {"return": made["id"]}), 200)
    await shop.settle()
    case = await shop.read_return(made["id"])
    assert (attached["return"], case["amount_refunded"], case["undeclared"][0]["sku"]) == (made["id"], 10_000, "HAT")
    assert await on_the_desk(shop, "unmatched_receipt") == []
    assert expect(await shop.get("/v1/receipts?attached=true"), 200)["data"] == [attached]
    problem = expect(await shop.post(f"{where}/attach", {"return": made["id"]}), 409, "already_attached")
    assert (problem["receipt"], problem["return"]) == (attached["receipt"], made["id"])
    expect(await shop.post(f"{where}/attach", {"return": "ret_nobody"}), 404, "not_found")
    expect(await shop.post("/v1/receipts/umr_nobody/attach", {"return": made["id"]}), 404, "not_found")


async def test_a_reversed_receipt_frees_its_parcel(shop: ServedShop) -> None:
    """C5: attached to the wrong return, it is attached to the right one."""
    body = {"items": [{"sku": "SHIRT", "quantity": 1, "condition": "new"}]}
    parcel = expect(await shop.post("/v1/receipts", body), 201)
    mistaken, meant = [await shop.create_approved_return(quantity=1) for _ in range(2)]
    first = expect(await shop.post(f"/v1/receipts/{parcel['id']}/attach", {"return": mistaken["id"]}), 200)
    where = f"/v1/returns/{mistaken['id']}/receipts/{first['receipt']}/reverse"
    expect(await shop.post(where, {"reason": "Another customer's."}), 200)
    assert expect(await shop.get(f"/v1/receipts/{parcel['id']}"), 200) == parcel
    assert len(await on_the_desk(shop, "unmatched_receipt")) == 1
    again = expect(await shop.post(f"/v1/receipts/{parcel['id']}/attach", {"return": meant["id"]}), 200)
    await shop.settle()
    assert again["return"] == meant["id"]
    assert [(await shop.read_return(made["id"]))["amount_refunded"] for made in (mistaken, meant)] == [0, 10_000]


@pytest.mark.parametrize(
    "change, param",
    [
        ({"tracking_number": "9" * 300}, "tracking_number"),
        ({"items": []}, "items"),
        ({"items": [{"sku": "A", "quantity": 0, "condition": "new"}]}, "items[0].quantity"),
        ({"carrier": "x"}, "carrier"),
    ],
)
async def test_a_parcel_that_makes_no_sense_is_one_clear_error(
    shop: ServedShop, change: dict[str, Any], param: str
) -> None:
    """C5: each wrong field is named."""
    body = {"items": [{"sku": "SHIRT", "quantity": 1, "condition": "new"}], **change}
    problem = expect(await shop.post("/v1/receipts", body), 422, "invalid_request")
    assert [error["param"] for error in problem["errors"]] == [param]


async def test_an_opened_unit_that_the_policy_does_not_accept_goes_back(shop: ServedShop, with_policy: Any) -> None:
    """C7: `return_to_customer` by default, whatever else when the dock says so."""
    with_policy(accepted_conditions=("new",))
    made = await shop.create_approved_return(quantity=2)
    receipt = await count(shop, made["id"], {"condition": "opened"}, {"condition": "damaged", "disposition": "scrap"})
    assert [row["disposition"] for row in receipt["lines"]] == ["return_to_customer", "scrap"]


async def test_a_surplus_waits_whichever_of_its_receipts_is_reversed(shop: ServedShop) -> None:
    """C1, C4: units without a place wait for a person, though another receipt had told of them."""
    made = await shop.create_approved_return(quantity=1)
    _, second, third = [await count(shop, made["id"], {**NEW, "quantity": units}) for units in (1, 2, 2)]
    expect(await correct(shop, second, "new", "missing"), 200)
    for receipt, waiting in ((second, {third["id"]: 2}), (third, {})):
        where = f"/v1/returns/{made['id']}/receipts/{receipt['id']}/reverse"
        expect(await shop.post(where, {"reason": "Scanned twice."}), 200)
        found = Counter[str]()
        for item in (await shop.read_return(made["id"]))["undeclared"]:
            found[item["receipt"]] += item["quantity"]
        assert found == waiting
