"""A batch of returns: each its own transaction and its own result, safe to send again."""

from __future__ import annotations

from typing import Any

from tests.harness.served_shop import ServedShop, expect, return_body

PATH = "/v1/returns/batch"


async def test_each_return_of_a_batch_has_a_result_of_its_own(shop: ServedShop) -> None:
    good, wrong = return_body(shop.pay(), order_id="A"), return_body(shop.pay(), currency=7)
    stranger, last = return_body("pi_nobody"), return_body(shop.pay(), order_id="B")
    done = expect(await shop.post(PATH, {"returns": [good, wrong, stranger, last]}), 200)
    assert [one["status"] for one in done["results"]] == [201, 422, 404, 201]
    assert [one["return"] and one["return"]["order_id"] for one in done["results"]] == ["A", None, None, "B"]
    problems = [one["problem"] for one in done["results"]]
    assert [problem and (problem["code"], problem["param"]) for problem in problems] == [
        None, ("invalid_request", "currency"), ("payment_missing", "payment_intent"), None,
    ]  # fmt: skip
    assert (await shop.count_rows())["ReturnAuthorization"] == 2


async def test_a_batch_sent_again_makes_nothing_twice_and_tries_what_failed(shop: ServedShop) -> None:
    good, late = return_body(shop.pay()), return_body("pi_nobody")
    first = expect(await shop.post(PATH, {"returns": [good, late]}, key="one"), 200)["results"]
    again = expect(await shop.post(PATH, {"returns": [good, late | {"payment_intent": shop.pay()}]}, key="one"), 200)
    second = again["results"]
    assert (second[0]["return"], second[0]["replayed"]) == (first[0]["return"], True)
    assert ([one["status"] for one in second], second[1]["replayed"]) == ([201, 201], False)
    assert (await shop.count_rows())["ReturnAuthorization"] == 2
    other: dict[str, Any] = good | {"order_id": "another"}
    (refused,) = expect(await shop.post(PATH, {"returns": [other]}, key="one"), 200)["results"]
    assert refused["problem"]["code"] == "idempotency_key_reused"


async def test_a_batch_is_bounded_and_needs_a_key(shop: ServedShop) -> None:
    expect(await shop.post(PATH, {"returns": [{}]}, key=None), 400, "idempotency_key_required")
    refused: list[Any] = [[], [{}] * 101, [7], "x"]
    for returns in refused:
        expect(await shop.post(PATH, {"returns": returns}), 422, "invalid_request")
    whole = expect(await shop.post(PATH, {"returns": [{}] * 100}), 200)
    assert [one["status"] for one in whole["results"]] == [422] * 100
