"""What a form says of a refusal: in the words of the page, at the field it is about, with all that was typed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from returns_service.domain.problems import PROBLEMS, Problem, ProblemCode
from returns_service.web.pages.problem_words import FIELDS, SENTENCES, TITLES, describe_problem, field_of
from returns_service.web.pages.routes import FORMS
from tests.harness.served_shop import ServedShop, expect
from tests.pages.conftest import Desk, sign_in_as
from tests.pages.forms import forms_in, send
from tests.pages.world import approved, parcel

ALWAYS: tuple[ProblemCode, ...] = (
    "invalid_request", "idempotency_key_reused", "idempotency_key_in_use", "version_mismatch", "override_required",
    "stripe_unavailable",
)  # fmt: skip
NEVER = {"not_found", "metadata_reserved", "metadata_invalid"}  # a page of its own; what no form sends
CAN_BE_MET = sorted({*ALWAYS, *(code for form in FORMS for code in form.operation.errors)} - NEVER)
# Fields, headers and requests are the API's; whoever presses a button knows none of them.
OF_THE_API = re.compile(r"`|\b(ETag|Idempotency-Key|POST|request|metadata|rli_|scan_id)\b", re.IGNORECASE)
ITS_OWN = {"invalid_request", "stripe_refuses_us"}  # always raised with a sentence: what is wrong, Stripe's own


@pytest.mark.parametrize("code", CAN_BE_MET)
def test_no_refusal_of_a_form_speaks_to_programs(code: ProblemCode) -> None:
    every: tuple[dict[str, Any], ...] = ({}, {"refundable": 500, "step": 100, "refunded": 400, "state": "refunded"})
    for facts in every:
        words = describe_problem(Problem(code, **facts), "eur")
        assert OF_THE_API.findall(words.title) == [], words.title
        if code not in ITS_OWN:
            assert OF_THE_API.findall(words.text) == [], words.text


def test_only_problems_there_are_have_words() -> None:
    assert {*TITLES, *SENTENCES, *FIELDS} <= set(PROBLEMS)


@pytest.mark.parametrize(
    "problem, currency, says",
    [
        (Problem("amount_exceeds_refundable", refundable=4170), "eur", "Enter at most 41.70 EUR, or"),
        (Problem("amount_exceeds_refundable", refundable=18_400), "jpy", "Enter at most 18,400 JPY, or"),
        (Problem("amount_exceeds_refundable", refundable=-5), "kwd", "Enter at most 0.000 KWD, or"),
        (Problem("amount_exceeds_refundable", refundable=5), "", "Enter less, or settle the rest outside."),
        (Problem("amount_not_a_step", step=100), "isk", "in steps of 1.00 ISK only"),
        (Problem("refund_amount_differs", refunded=400), "usd", "Enter 4.00 USD: that is what was refunded."),
        (
            Problem("invalid_transition", "`close` is not possible while the return is failed.", state="failed"),
            "",
            "is failed by",
        ),
        (Problem("units_already_returned", returns=["ret_1", "ret_2"]), "", "They are on ret_1, ret_2: cancel"),
        (Problem("invalid_request", "text: Must be x", errors=[{"message": "Must be x"}]), "", "Must be x."),
        (Problem("not_found", "This session is over already."), "", "This session is over already."),
    ],
)
def test_amounts_have_their_currency_and_sentences_no_field_names(problem: Problem, currency: str, says: str) -> None:
    assert says in describe_problem(problem, currency).text


def test_a_problem_stands_at_the_field_it_is_about() -> None:
    names = ("amount", "quantity", "override_reason")
    assert field_of(Problem("invalid_request", param="amount"), names) == "amount"
    assert field_of(Problem("units_not_counted", param="lines[0].quantity"), names) == "quantity"
    assert field_of(Problem("override_required"), names) == "override_reason"
    assert field_of(Problem("invalid_request", param="reason"), names) == ""
    assert field_of(Problem("nothing_overpaid"), names) == ""


async def test_what_is_wrong_stands_at_its_field(shop: ServedShop, desk: Desk) -> None:
    made = await approved(shop, "NW-1")
    await sign_in_as(shop, desk, "approver")
    address = f"/returns/{made['id']}/close"
    page = await desk.get(f"/returns/{made['id']}")
    refused = await send(desk, page, address, reason=" ")
    assert refused.status_code == 422
    field = re.search(r'<textarea id="f-reason"[^>]*>', refused.text)
    assert field is not None
    assert 'aria-invalid="true"' in field[0]
    assert re.search(r'id="f-reason-e">.*Say why, in a sentence.', refused.text)
    assert "It is marked below." in refused.text


async def test_what_was_chosen_is_named_as_it_was(shop: ServedShop, desk: Desk) -> None:
    """A refused form shows the choices of its return again, and none of their ids."""
    made = await parcel(shop, "NW-1")
    line = made["lines"][0]["id"]
    body = {"lines": [{"line": line, "quantity": 2, "condition": "new"}], "undeclared": [{"sku": "X", "quantity": 1}]}
    receipt = expect(await shop.post(f"/v1/returns/{made['id']}/receipts", body), 201)
    await sign_in_as(shop, desk, "warehouse")
    address = f"/returns/{made['id']}/receipts/{receipt['id']}/correct"
    page = await desk.get(f"/returns/{made['id']}")
    refused = await send(desk, page, address, to="damaged", quantity="5", reason="Torn.")
    assert refused.status_code == 409
    assert "2 × CREW-MER-UND-L, new" in refused.text
    assert f">{line}" not in refused.text
    assert re.search(r'id="f-quantity-e">', refused.text), "it stands at its field"
    kept = forms_in(refused)[address]
    assert (kept["which"], kept["to"], kept["quantity"]) == (f"{line}|new", "damaged", "5")


async def test_what_can_not_be_done_any_more_is_not_offered_first(shop: ServedShop, desk: Desk) -> None:
    made = await approved(shop, "NW-1")
    await sign_in_as(shop, desk, "approver")
    page = await desk.get(f"/returns/{made['id']}")
    expect(await shop.post(f"/v1/returns/{made['id']}/cancel", {"reason": "Kept."}), 200)
    refused = await send(desk, page, f"/returns/{made['id']}/close", reason="Kept.")
    assert refused.status_code == 409
    assert "The return is canceled by now: look at it, then decide." in refused.text
    assert re.search(r'class="btn primary" href="/returns/ret_\w+">Go back and look', refused.text)


async def test_a_form_that_is_changed_and_sent_again_says_that_it_was_sent(shop: ServedShop, desk: Desk) -> None:
    made = await approved(shop, "NW-1")
    await sign_in_as(shop, desk, "approver")
    address = f"/returns/{made['id']}/note"
    page = await desk.get(f"/returns/{made['id']}")
    assert (await send(desk, page, address, text="First.")).status_code == 303
    again = await send(desk, page, address, text="Another.")
    assert again.status_code == 422
    assert "This form was sent before" in again.text
    assert "nothing was changed" not in again.text
