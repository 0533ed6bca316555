"""Notes about a return: authored, in its history, never changed afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from returns_service.commands.erasure import forget
from returns_service.domain.forgotten import REDACTED
from returns_service.domain.policy import DEFAULT
from returns_service.return_case.events import Actor
from tests.harness.served_shop import ServedShop, expect


async def test_a_note_has_author_time_and_text_in_every_state(shop: ServedShop) -> None:
    made = await shop.create_return()
    where = f"/v1/returns/{made['id']}"
    first = expect(await shop.post(f"{where}/notes", {"text": " She called. "}), 201)
    assert first["text"] == "She called."
    assert (first["object"], first["return"], first["author"][:4]) == ("note", made["id"], "key_")
    expect(await shop.post(f"{where}/decline", {"reason": "Too late."}), 200)
    second = expect(await shop.post(f"{where}/notes", {"text": "Told her why."}), 201)
    listed = expect(await shop.get(f"{where}/notes"), 200)
    assert [note["id"] for note in listed["data"]] == [second["id"], first["id"]]
    page = expect(await shop.get(f"{where}/notes?limit=1&starting_after={second['id']}"), 200)
    assert (page["data"], page["has_more"], page["url"]) == ([first], False, f"{where}/notes")
    event = expect(await shop.get(f"{where}/events?type=return.note_added"), 200)["data"][-1]
    assert (event["id"], event["data"]["text"], event["data"]["object"]["state"]) == (
        first["id"], "She called.", "requested",
    )  # fmt: skip


async def test_a_note_sent_again_under_its_key_is_one_note(shop: ServedShop) -> None:
    made = await shop.create_return()
    where = f"/v1/returns/{made['id']}/notes"
    first = expect(await shop.post(where, {"text": "Once."}, key="note-1"), 201)
    again = await shop.post(where, {"text": "Once."}, key="note-1")
    assert (expect(again, 201), again.headers["Idempotent-Replayed"]) == (first, "true")
    assert len(expect(await shop.get(where), 200)["data"]) == 1


@pytest.mark.parametrize(
    "body", [{}, {"text": ""}, {"text": "  "}, {"text": "\u200b"}, {"text": None}, {"text": "x" * 1001}]
)
async def test_an_empty_or_endless_note_is_refused(shop: ServedShop, body: dict[str, Any]) -> None:
    made = await shop.create_return()
    problem = expect(await shop.post(f"/v1/returns/{made['id']}/notes", body), 422, "invalid_request")
    assert problem["param"] == "text"


async def test_notes_of_an_unknown_return(shop: ServedShop) -> None:
    where = "/v1/returns/ret_01h455vb4pex5vsknk084sn02q/notes"
    expect(await shop.post(where, {"text": "x"}), 404, "not_found")
    expect(await shop.get(where), 404, "not_found")


async def test_notes_are_forgotten_with_their_customer(shop: ServedShop) -> None:
    made = await shop.create_return(order_id="order_1")
    where = f"/v1/returns/{made['id']}/notes"
    expect(await shop.post(where, {"text": "Ada moved to 5 Bond Street."}, key="note-1"), 201)
    await shop.db.run(lambda tx: forget(tx, Actor("worker"), DEFAULT, order_id="order_1"))
    assert [note["text"] for note in expect(await shop.get(where), 200)["data"]] == [REDACTED]
    again = expect(await shop.post(where, {"text": "Ada moved to 5 Bond Street."}, key="note-1"), 201)
    assert again["text"] == REDACTED, "the kept answer is forgotten, too"
