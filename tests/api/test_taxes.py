"""B10: the books learn the tax of each refund, exact in sum over all parcels."""

from __future__ import annotations

from typing import Any

from tests.harness.served_shop import ServedShop, expect, return_body


async def taxed_return(shop: ServedShop, **more: Any) -> dict[str, Any]:
    """Return an approved return of 3 units, 100.00 with 15.97 tax, and 5.00 shipping with 0.80 tax."""
    line = {"sku": "SHIRT", "quantity": 3, "total_amount": 10_000, "tax_amount": 1597}
    body = {"lines": [line], "shipping_amount": 500, "shipping_tax_amount": 80, **more}
    made = expect(await shop.post("/v1/returns", return_body(shop.pay(10_500), **body)), 201)
    return expect(await shop.post(f"/v1/returns/{made['id']}/approve", {"override_reason": "A test."}), 200)


async def test_b10_every_row_tells_its_tax_exact_in_sum(shop: ServedShop, with_policy: Any) -> None:
    with_policy(shipping_refunded="full_return")
    made = await taxed_return(shop)
    assert (made["lines"][0]["tax_amount"], made["shipping_tax_amount"]) == (1597, 80)
    for _ in range(3):
        await shop.receive_parcel(made["id"], 1)
        await shop.settle()
    refunds = (await shop.read_return(made["id"]))["refunds"]
    taxes = [[(row["kind"], row["tax_amount"]) for row in refund["breakdown"]] for refund in refunds]
    assert taxes == [[("line", 532)], [("line", 532)], [("line", 533), ("shipping", 80)]]
    assert [refund["tax_amount"] for refund in refunds] == [532, 532, 613]
    assert sum(refund["amount"] for refund in refunds) == 10_500


async def test_b10_the_preview_and_other_roads_tell_it_too(shop: ServedShop, with_policy: Any) -> None:
    with_policy(refund_on="manual")
    made = await taxed_return(shop)
    where = f"/v1/returns/{made['id']}"
    await shop.receive_parcel(made["id"], 2)
    preview = expect(await shop.get(f"{where}/refund_preview"), 200)
    assert [row["tax_amount"] for row in preview["breakdown"]] == [1064]
    body = {"method": "cash", "reference": "till", "amount": 3333}
    expect(await shop.post(f"{where}/settle_outside", body), 200)
    less = expect(await shop.post(f"{where}/refund", {"amount": 2000, "reason": "requested_by_customer"}), 202)
    assert [row["tax_amount"] for row in less["breakdown"]] == [532, -212]
    await shop.settle()
    shop.dashboard.refund(made["payment_intent"], 3334, metadata={"return_id": made["id"]})
    await shop.receive_parcel(made["id"], 1)
    await shop.deliver()
    refunds = (await shop.read_return(made["id"]))["refunds"]
    lines = [row for refund in refunds for row in refund["breakdown"] if row["kind"] == "line"]
    assert sum(row["tax_amount"] for row in lines) == 1597


async def test_b10_a_retried_refund_has_its_tax_once(shop: ServedShop) -> None:
    made = await taxed_return(shop)
    await shop.receive_parcel(made["id"], 1)
    await shop.settle()
    await shop.receive_parcel(made["id"], 1)
    await shop.settle()
    first, _ = (await shop.read_return(made["id"]))["refunds"]
    shop.dashboard.fail(first["stripe_refund"], "declined")
    await shop.deliver()
    expect(await shop.post(f"/v1/refunds/{first['id']}/settle_outside", {"method": "cash", "reference": "till"}), 200)
    await shop.receive_parcel(made["id"], 1)
    await shop.settle()
    refunds = (await shop.read_return(made["id"]))["refunds"]
    assert sum(r["tax_amount"] for r in refunds if r["status"] in ("succeeded", "settled_outside")) == 1597


async def test_b10_tax_is_a_part_of_the_total(shop: ServedShop) -> None:
    line = {"sku": "SHIRT", "quantity": 1, "total_amount": 100, "tax_amount": 101}
    answer = await shop.post("/v1/returns", return_body(shop.pay(), lines=[line]))
    assert expect(answer, 422, "tax_exceeds_total")["param"] == "lines[0].tax_amount"
    answer = await shop.post("/v1/returns", return_body(shop.pay(), shipping_tax_amount=1))
    assert expect(answer, 422, "tax_exceeds_total")["param"] == "shipping_tax_amount"
    made = await shop.create_return(1000, 1)
    answer = await shop.post(f"/v1/returns/{made['id']}", {"shipping_tax_amount": 1})
    expect(answer, 422, "tax_exceeds_total")
