"""B2: an action with `If-Match` holds only for a version that was read; a read with `If-None-Match` may be spared."""

from __future__ import annotations

from typing import Any

import pytest

from returns_service.web.routes import OPERATIONS
from tests.harness.served_shop import ServedShop, expect

ACTIONS: dict[str, dict[str, Any]] = {
    "": {"internal_note": "x"},
    "/approve": {"override_reason": "x"},
    "/decline": {"reason": "x"},
    "/cancel": {"reason": "x"},
    "/close": {"reason": "x"},
    "/reopen": {"reason": "x"},
    "/acknowledge": {"reason": "x"},
    "/receipts": {"lines": [{"sku": "SHIRT", "quantity": 1, "condition": "new"}]},
    "/receipts/rcp_x/reverse": {"reason": "x"},
    "/receipts/rcp_x/correct": {
        "lines": [{"line": "rli_x", "from": "new", "to": "opened", "quantity": 1}],
        "reason": "x",
    },
    "/receipts/rcp_x/inspect": {"lines": [{"line": "rli_x", "condition": "new", "disposition": "restock"}]},
    "/undeclared/und_x/resolve": {"decision": "scrap"},
    "/resolution": {"resolution": "exchange"},
    "/notes": {"text": "x"},
    "/refund": {},
    "/retry": {},
    "/settle_outside": {"method": "cash", "reference": "1"},
}


def test_every_write_under_a_return_takes_if_match() -> None:
    under = [operation for operation in OPERATIONS if operation.path.startswith("/v1/returns/{return_id}")]
    writes = [operation for operation in under if operation.writes]
    assert len(writes) == len(ACTIONS)
    assert all(operation.if_match for operation in writes)


@pytest.mark.parametrize("action", ACTIONS)
async def test_b2_no_action_on_a_version_that_the_shop_has_changed(shop: ServedShop, action: str) -> None:
    """B2: version 1 was approved with `If-Match: "1"` after it had become version 2."""
    made = await shop.create_return()
    where = f"/v1/returns/{made['id']}"
    changed = expect(await shop.post(where, {"internal_note": "2"}), 200)
    before = await shop.count_rows()
    answer = await shop.post(where + action, ACTIONS[action], If_Match=f'"{made["version"]}"')
    assert expect(answer, 412, "version_mismatch")["version"] == changed["version"]
    assert await shop.count_rows() == before, "nothing was written, the key neither"
    assert (await shop.read_return(made["id"]))["version"] == changed["version"]


@pytest.mark.parametrize("given,status", [
    ('"{v}"', 200), ('"0", "{v}"', 200), ('"{v}","0"', 200), ("*", 200), ('W/"{v}"', 412), ("{v}", 412),
    ('"0", "99"', 412), ("", 412), ('"{v}', 412), ('"' + "9" * 400 + '"', 412),
])  # fmt: skip
async def test_b2_lists_of_etags_are_understood(shop: ServedShop, given: str, status: int) -> None:
    made = await shop.create_return()
    header = given.replace("{v}", str(made["version"]))
    expect(await shop.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "x"}, If_Match=header), status)


async def test_b2_a_refused_version_says_which_one_there_is_and_how_to_write_it(shop: ServedShop) -> None:
    """A version without its quotes was told that somebody had changed the return: nobody had."""
    where = f"/v1/returns/{(await shop.create_return())['id']}"
    old = expect(await shop.post(where, {"internal_note": "x"}, If_Match='"7"'), 412, "version_mismatch")
    assert old["detail"] == "The return is at version 1 now."
    weak = expect(await shop.post(where, {"internal_note": "x"}, If_Match='W/"1"'), 412, "version_mismatch")
    assert "W/" in weak["detail"]
    bare = expect(await shop.post(where, {"internal_note": "x"}, If_Match="1"), 412, "version_mismatch")
    assert '"3"' in bare["detail"]


async def test_b2_a_repeated_action_gets_its_answer_whatever_came_after_it(shop: ServedShop) -> None:
    made = await shop.create_return()
    where, version = f"/v1/returns/{made['id']}", f'"{made["version"]}"'
    first = await shop.post(f"{where}/decline", {"reason": "x"}, key="once", If_Match=version)
    again = await shop.post(f"{where}/decline", {"reason": "x"}, key="once", If_Match=version)
    assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)


async def test_b2_an_action_on_no_return_is_not_found(shop: ServedShop) -> None:
    expect(await shop.post("/v1/returns/ret_x/approve", {}, If_Match='"1"'), 404, "not_found")


async def test_b2_a_read_of_what_is_known_is_spared(shop: ServedShop) -> None:
    made = await shop.create_return()
    where, tag = f"/v1/returns/{made['id']}", f'"{made["version"]}"'
    for known in (tag, f'"0", {tag}', f"W/{tag}", "*"):
        answer = await shop.get(where, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    for other in ('"0"', "nonsense", ""):
        assert expect(await shop.get(where, headers={"If-None-Match": other}), 200) == made
    whole = await shop.get(f"{where}?expand[]=payment", headers={"If-None-Match": tag})
    assert whole.status_code == 200, "what is expanded may have changed"
    expect(await shop.post(where, {"internal_note": "x"}), 200)
    assert (await shop.get(where, headers={"If-None-Match": tag})).status_code == 200


async def test_a_read_is_not_spared_where_another_changed_what_it_tells(shop: ServedShop) -> None:
    """The version is of what happened to the return: a dispute of its payment, or its sibling, is no event of its."""
    made = await shop.create_return()
    where, known = f"/v1/returns/{made['id']}", {"If-None-Match": f'"{made["version"]}"'}
    assert (await shop.get(where, headers=known)).status_code == 304
    shop.advance(120)
    shop.dashboard.open_dispute(made["payment_intent"])
    await shop.deliver()
    told = expect(await shop.get(where, headers=known), 200)
    assert ("approve" in made["available_actions"], "approve" in told["available_actions"]) == (True, False)
    assert told["version"] == made["version"]
    other = await shop.create_return()
    path, known = f"/v1/returns/{other['id']}", {"If-None-Match": f'"{other["version"]}"'}
    sibling = await shop.create_return(payment=other["payment_intent"])
    expect(await shop.post(f"/v1/returns/{sibling['id']}/approve", {"override_reason": "x"}), 200)
    told = expect(await shop.get(path, headers=known), 200)
    assert ("approve" in other["available_actions"], "approve" in told["available_actions"]) == (True, False)


async def test_a_read_of_what_waits_at_stripe_is_not_spared(shop: ServedShop) -> None:
    made = await shop.create_approved_return(quantity=1)
    await shop.receive_parcel(made["id"])
    waits = await shop.read_return(made["id"])
    assert waits["refunds_waiting"]
    where = f"/v1/returns/{made['id']}"
    assert (await shop.get(where, headers={"If-None-Match": f'"{waits["version"]}"'})).status_code == 200
    await shop.settle()
    done = await shop.read_return(made["id"])
    assert (await shop.get(where, headers={"If-None-Match": f'"{done["version"]}"'})).status_code == 304


async def test_a_scan_sent_again_with_its_version_gets_its_receipt(shop: ServedShop) -> None:
    """The count itself had changed the version: its repeat was refused, as if it had not been counted."""
    made = await shop.create_approved_return()
    where, version = f"/v1/returns/{made['id']}/receipts", f'"{made["version"]}"'
    scan = {"lines": [{"sku": "SHIRT", "quantity": 1, "condition": "new"}], "scan_id": "dock-1"}
    first = await shop.post(where, scan, key=None, If_Match=version)
    again = await shop.post(where, scan, key=None, If_Match=version)
    assert expect(again, 201) == expect(first, 201)
    assert again.headers["idempotent-replayed"] == "true"
    expect(await shop.post(where, scan | {"scan_id": "dock-2"}, key=None, If_Match=version), 412, "version_mismatch")
    assert (await shop.read_return(made["id"]))["lines"][0]["received_quantity"] == 1


@pytest.mark.parametrize("action,body,status", [
    ("retry", {}, 202), ("settle_outside", {"method": "cash", "reference": "1"}, 200), ("approve", {}, 409),
])  # fmt: skip
async def test_an_action_on_a_refund_holds_for_the_version_of_its_return(
    shop: ServedShop, action: str, body: dict[str, Any], status: int
) -> None:
    """It was done whatever had changed since the return was read."""
    made = await shop.create_approved_return(3000, 1, card="pm_card_refundFail")
    await shop.receive_parcel(made["id"])
    await shop.settle()
    failed = await shop.read_return(made["id"])
    where = f"/v1/refunds/{failed['refunds'][0]['id']}/{action}"
    before = await shop.count_rows()
    answer = await shop.post(where, body, If_Match=f'"{failed["version"] - 1}"')
    assert expect(answer, 412, "version_mismatch")["version"] == failed["version"]
    assert await shop.count_rows() == before
    expect(await shop.post(where, body, If_Match=f'"{failed["version"]}"'), status)


async def test_where_no_version_can_be_compared_if_match_is_refused(shop: ServedShop) -> None:
    payment = shop.pay(50_000)
    expect(await shop.post("/v1/refunds", {"payment_intent": payment, "amount": 1000}), 202)
    await shop.settle()
    (alone,) = expect(await shop.get("/v1/refunds"), 200)["data"]
    before = await shop.count_rows()
    for path, body in {
        "/v1/refunds": {"payment_intent": payment, "amount": 1000},
        f"/v1/refunds/{alone['id']}/retry": {},
        f"/v1/refunds/{alone['id']}/cancel": {},
        f"/v1/refunds/{alone['id']}/acknowledge": {"reason": "x"},
    }.items():
        assert "version" not in expect(await shop.post(path, body, If_Match='"1"'), 412, "version_mismatch")
    assert await shop.count_rows() == before
    expect(await shop.post(f"/v1/refunds/{alone['id']}/check", If_Match="*"), 200)
