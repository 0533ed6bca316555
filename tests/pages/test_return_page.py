"""What the page of one return puts first: what is missing, what is to do, whose words say why."""

from __future__ import annotations

import re

from tests.harness.served_shop import ServedShop, expect, return_body
from tests.pages.conftest import Desk, sign_in_as
from tests.pages.world import approved, ask, parcel


async def test_a_return_of_many_lines_shows_first_what_is_not_here(shop: ServedShop, desk: Desk) -> None:
    """And its history stays in reach: the rest can be opened."""
    lines = [{"sku": f"SKU-{number:02}", "quantity": 1, "total_amount": 100} for number in range(15)]
    body = {**return_body(shop.pay(1500), 1500, order_id="NW-1"), "lines": lines}
    made = expect(await shop.post("/v1/returns", body), 201)
    expect(await shop.post(f"/v1/returns/{made['id']}/approve"), 200)
    here = [{"sku": line["sku"], "quantity": 1, "condition": "new"} for line in lines[:14]]
    expect(await shop.post(f"/v1/returns/{made['id']}/receipts", {"lines": here}), 201)
    await sign_in_as(shop, desk, "admin")
    page = await desk.get(f"/returns/{made['id']}")
    items = page.text.partition("lines-h")[2]
    assert re.findall(r"SKU-\d\d", items)[0] == "SKU-14"
    assert "<summary>3 more items</summary>" in items
    assert "<summary>2 more lines</summary>" in items
    assert "SKU-05 (new), 8 more lines</bdi>" in items
    declined = await ask(shop, "NW-12")
    expect(await shop.post(f"/v1/returns/{declined['id']}/decline", {"reason": "Worn."}), 200)
    found = (await desk.get("/receive?q=nw-1")).text
    assert re.findall("<strong><bdi>(NW-1.?)</bdi>", found)[:2] == ["NW-1", "NW-12"], "what is awaited, then the newest"
    assert found.index("1 unit expected") < found.index("Nothing more is expected")
    dock = (await desk.get(f"/receive/{made['id']}")).text
    assert re.findall(r'data-sku="(SKU-\d\d)"', dock)[:2] == ["SKU-14", "SKU-00"]
    assert "<summary>14 items came before</summary>" in dock


async def test_the_next_thing_to_do_is_the_one_in_ink(shop: ServedShop, desk: Desk) -> None:
    """No parcel is asked for where all of it is here; what is owed outside Stripe is settled by a button."""
    disputed = await approved(shop, "NW-1", 5000, card="pm_card_createDispute")
    await shop.settle()
    await shop.receive_parcel(disputed["id"])
    body = return_body(shop.pay(5000), 5000, 1, order_id="NW-2")
    body["lines"][0]["resolution"] = "store_credit"
    credit = expect(await shop.post("/v1/returns", body), 201)
    expect(await shop.post(f"/v1/returns/{credit['id']}/approve"), 200)
    await shop.receive_parcel(credit["id"])
    await sign_in_as(shop, desk, "admin")
    page = await desk.get(f"/returns/{disputed['id']}")
    assert f'class="btn" href="/receive/{disputed["id"]}"' in page.text
    page = await desk.get(f"/returns/{credit['id']}")
    assert re.search(r'class="btn primary" href="#settle_outside-', page.text)
    waits = await approved(shop, "NW-3")
    page = await desk.get(f"/returns/{waits['id']}")
    assert "<b>Refund, Settle outside</b>Nothing received is unpaid." in page.text, "one reason, in a person's words"
    case = await desk.get("/refunds?kind=refund_barred")
    assert "has to be answered by" not in case.text
    assert re.search(r"That is <time datetime=.*Z\">.* UTC</time>", case.text), "as people read it, in their zone"


async def test_why_and_why_in_spite_of_a_rule_are_told_apart(shop: ServedShop, desk: Desk) -> None:
    made = await parcel(shop, "NW-1")
    body = {"undeclared": [{"sku": "X", "quantity": 2}]}
    expect(await shop.post(f"/v1/returns/{made['id']}/receipts", body), 201)
    said = {"reason": "It was lost.", "override_reason": "Their <b>X</b> was given away."}
    expect(await shop.post(f"/v1/returns/{made['id']}/close", said), 200)
    await sign_in_as(shop, desk, "finance")
    page = await desk.get(f"/returns/{made['id']}")
    quoted = re.findall(r"<blockquote><bdi>(.*?)</bdi></blockquote>", page.text)
    assert quoted[:2] == ["It was lost.", "Their &lt;b&gt;X&lt;/b&gt; was given away."]
    assert "In spite of the rule:" in page.text
    assert "<strong><bdi>2 units put aside</bdi></strong>" in page.text
    assert "in spite of the rule: “<bdi>Their" in (await desk.get("/")).text
