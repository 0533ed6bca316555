"""Finding a return by what a person has in hand: a name, a label, a slip."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import col, delete, update

from returns_service.commands.search_index import free_slip_code
from returns_service.domain.slip_code import is_slip_code, slip_code
from returns_service.return_case.events import Actor
from returns_service.store.tables import RefundWord, ReturnAuthorization, SearchWord, UnmatchedReceipt
from returns_service.worker.maintenance import complete_return, index_late_refunds
from tests.api.test_lists import ids
from tests.factories import create_unmatched_receipt
from tests.harness.served_shop import ServedShop, expect, return_body

WORKER = Actor("worker")


async def test_capitals_width_and_accents_written_otherwise_find_the_same(shop: ServedShop) -> None:
    """D1: SQLite finds `Ä` by `ä`; a word is found by its beginning, several must all match."""
    named: dict[str, Any] = {
        "customer_email": "JÜRGEN@Example.com",
        "customer_name": " Ärzte-Haus  Straße ",
        "order_id": " ÄPFEL-7 ",
    }
    made = await shop.create_return(**named)
    await shop.create_return(customer_email="ann@example.com")
    assert (made["customer_name"], made["order_id"]) == ("Ärzte-Haus  Straße", "ÄPFEL-7")
    for words in (
        "ärzte",
        "HAUS",
        "strasse ÄRZ",
        "jürgen@example.com",
        "JU\u0308RGEN@",
        "äpfel-7",
        "ÄPF 7",
        "ＳＴＲＡ",
    ):
        assert await ids(shop, q=words) == [made["id"]], words
    for words in ("zte", "ärzte ann", "jürgen strasse mütze", "äpfel-77"):
        assert await ids(shop, q=words) == [], words
    for email in ("jürgen@example.COM", "JU\u0308RGEN@EXAMPLE.com"):
        assert await ids(shop, customer_email=email) == [made["id"]]
    assert await ids(shop, customer_email="jürgen@example.co") == []
    assert await ids(shop, order_id="ÄPFEL-7 ") == [made["id"]]


async def test_words_without_end_are_refused_and_none_finds_all(shop: ServedShop) -> None:
    """D1: each word costs a look into the index."""
    made = await shop.create_return()
    many = " ".join(f"word{n}" for n in range(21))
    problem = expect(await shop.get("/v1/returns", params={"q": many}), 422, "invalid_request")
    assert problem["param"] == "q"
    assert await ids(shop, q=" \u200b ") == [made["id"]]


async def test_a_carriers_label_finds_the_return_in_every_state(shop: ServedShop) -> None:
    """C6: `tracking_numbers` at creation and in any later update, found with and without the label's blanks."""
    made = await shop.create_return(tracking_numbers=[" 1Z 999 AA1 ", "JD0146", "JD0146"])
    assert made["tracking_numbers"] == ["1Z 999 AA1", "JD0146"]
    for words in ("1z999aa1", "1Z 999 AA1", "999", "jd01"):
        assert await ids(shop, q=words) == [made["id"]], words
    where = f"/v1/returns/{made['id']}"
    expect(await shop.post(f"{where}/approve", {"override_reason": "A test."}), 200)
    changed = expect(await shop.post(where, {"tracking_numbers": ["00340434"]}), 200)
    assert (changed["tracking_numbers"], changed["version"]) == (["00340434"], 3)
    assert await ids(shop, q="0034 0434") == [made["id"]]
    assert await ids(shop, q="jd0146") == []
    expect(await shop.post(f"{where}/close", {"reason": "Lost."}), 200)
    expect(await shop.post(where, {"tracking_numbers": [], "customer_name": "Ann Lee"}), 200)
    assert await ids(shop, q="00340434") == []
    assert await ids(shop, q="lee ann") == [made["id"]]
    expect(await shop.post(where, {"tracking_numbers": [" "]}), 422, "invalid_request")
    expect(await shop.post(where, {"tracking_numbers": ["x"] * 51}), 422, "invalid_request")


@pytest.mark.parametrize("mark", ["{}\r", "\u00a0{} ", "\u2800{}\u200b", "\x1d{}\n"])
async def test_a_scanner_finds_the_return_by_label_slip_and_order(shop: ServedShop, mark: str) -> None:
    """C2, C6: blanks and control characters that a scanner adds, and full width, don't matter to the dock's box."""
    made = await shop.create_return(tracking_numbers=["1Z 999 AA1"], order_id="ORDER-7")
    await shop.create_return(tracking_numbers=["1Z 998 AA1"], order_id="ORDER-8")
    wide = "".join(chr(ord(c) + 0xFEE0) for c in made["slip_code"])
    for scan in ("1z999aa1", "1Z 999 AA1", made["slip_code"], wide, "order-7", made["id"]):
        assert await ids(shop, q=mark.format(scan)) == [made["id"]], scan


async def test_a_parcel_of_nobody_is_found_by_its_label(shop: ServedShop) -> None:
    """C5, C6: its tracking number is compared as a return's is."""
    items = [{"sku": "SHIRT\r", "quantity": 1, "condition": "new"}]
    body = {"tracking_number": "1Z 999 AA1", "order_id": " ORDER-7 ", "items": items}
    parcel = expect(await shop.post("/v1/receipts", body), 201)
    expect(await shop.post("/v1/receipts", {"tracking_number": "1Z 998 AA1", "items": items}), 201)
    assert (parcel["tracking_number"], parcel["order_id"], parcel["items"]) == ("1Z 999 AA1", "ORDER-7", items)
    for query in ({"tracking_number": "1z999aa1\r"}, {"tracking_number": "1Z 999 AA1"}, {"order_id": "ORDER-7 "}):
        found = expect(await shop.get("/v1/receipts", params=query), 200)["data"]
        assert [row["id"] for row in found] == [parcel["id"]], query
    assert expect(await shop.get("/v1/receipts", params={"tracking_number": "\u200b"}), 200)["data"] == []
    async with shop.db.transaction() as tx:  # as a release before the compared text writes it
        await tx.execute(update(UnmatchedReceipt).values(tracking_text=None))
    found = expect(await shop.get("/v1/receipts", params={"tracking_number": "1Z 999 AA1"}), 200)["data"]
    assert [row["id"] for row in found] == [parcel["id"]]


async def test_every_return_has_a_slip_code_of_its_own_and_is_found_by_it(shop: ServedShop) -> None:
    """Section 8: ten digits, the last a check digit; unique; searchable; in the API."""
    made = [await shop.create_return() for _ in range(2)]
    codes = [row["slip_code"] for row in made]
    assert all(map(is_slip_code, codes))
    assert len(set(codes)) == 2
    assert await ids(shop, q=codes[0]) == [made[0]["id"]]
    assert await ids(shop, q=f"{codes[1][:5]} {codes[1][5:]}") == [made[1]["id"]]


async def test_a_slip_code_that_is_taken_is_drawn_again(shop: ServedShop) -> None:
    made, database = await shop.create_return(), shop.context.database
    async with database.transaction() as tx:
        taken = slip_code("ret_new")
        await tx.execute(update(ReturnAuthorization).values(slip_code=taken))
        assert await free_slip_code(tx, "ret_new") == slip_code("ret_new", 1)
        await create_unmatched_receipt(tx, number=slip_code("ret_new", 1))
        assert await free_slip_code(tx, "ret_new") == slip_code("ret_new", 2), "the dock scans both in one box"
    assert (await shop.read_return(made["id"]))["slip_code"] == taken


async def test_corrected_lines_and_address_are_found_and_the_old_ones_are_not(shop: ServedShop) -> None:
    """D1: the words change in the transaction that changes the row."""
    made = await shop.create_return(customer_email="ann@example.com")
    lines = [{"sku": "Mütze", "quantity": 1, "total_amount": 500}]
    expect(await shop.post(f"/v1/returns/{made['id']}", {"lines": lines, "customer_email": "ÖRS@example.com"}), 200)
    for words in ("MÜTZE", "örs@"):
        assert await ids(shop, q=words) == [made["id"]]
    assert await ids(shop, customer_email="örs@example.com") == [made["id"]]
    for words in ("shirt", "ann@"):
        assert await ids(shop, q=words) == []
    refused = {"lines": [{"sku": "HUGE", "quantity": 1, "total_amount": 10**9}]}
    expect(await shop.post(f"/v1/returns/{made['id']}", refused), 422, "amount_exceeds_payment")
    assert await ids(shop, q="huge") == []


async def test_a_return_that_the_release_before_made_is_completed(shop: ServedShop) -> None:
    """D1: while a release is rolled out, old processes write neither slip code nor words."""
    made, context = await shop.create_return(customer_email="Ä@example.com"), shop.context
    async with context.database.transaction() as tx:
        await tx.execute(delete(SearchWord).where(col(SearchWord.return_id) == made["id"]))
        await tx.execute(update(ReturnAuthorization).values(slip_code=None, email_text=None))
    assert (await shop.read_return(made["id"]))["slip_code"] is None
    assert await complete_return(context.database, WORKER, context.policy)
    assert not await complete_return(context.database, WORKER, context.policy)
    done: dict[str, Any] = await shop.read_return(made["id"])
    assert (done["slip_code"], done["version"]) == (made["slip_code"], made["version"] + 1)
    assert await ids(shop, q="ä@example") == await ids(shop, customer_email="ä@example.com") == [made["id"]]


async def test_refunds_of_the_release_before_are_found_by_their_metadata(shop: ServedShop) -> None:
    """While a release is rolled out, old processes write no words; a worker does, for those that have metadata."""
    body = {"payment_intent": shop.pay(), "amount": 7, "metadata": {"ticket": "T-1"}}
    with_ticket = expect(await shop.post("/v1/refunds", body), 202)
    expect(await shop.post("/v1/refunds", body | {"metadata": {}}), 202)
    async with shop.db.transaction() as tx:
        await tx.execute(delete(RefundWord))

    async def found() -> list[str]:
        answer = await shop.get("/v1/refunds", params={"metadata[ticket]": "T-1"})
        return [row["id"] for row in expect(answer, 200)["data"]]

    assert await found() == []
    assert [await index_late_refunds(shop.db) for _ in range(2)] == [1, 0]
    assert await found() == [with_ticket["id"]]


@pytest.mark.parametrize("sku", ["A" * 200, "-".join("abcdefghij" * 9), "😀" * 200])
async def test_odd_and_long_words_are_found(shop: ServedShop, sku: str) -> None:
    """D1: a long word is cut the same way on both sides."""
    lines = [{"sku": sku, "quantity": 1, "total_amount": 500}]
    made = expect(await shop.post("/v1/returns", return_body(shop.pay()) | {"lines": lines}), 201)
    assert await ids(shop, q=sku) == await ids(shop, q=sku[:7]) == [made["id"]]
