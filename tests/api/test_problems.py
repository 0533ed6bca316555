"""A problem as it is answered: `detail` says what happened, `advice` what can be done, its own facts come last."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import returns_service
from returns_service.domain.problems import PROBLEMS, Problem, ProblemCode
from returns_service.web.api.openapi_facts import FACTS
from returns_service.web.errors import problem_body

SOURCE = Path(returns_service.__file__).parent
AMONG_PAGES = {"amount_outside"}  # of the customer's pages alone


@pytest.mark.parametrize("code", PROBLEMS)
def test_no_problem_says_its_advice_twice(code: ProblemCode) -> None:
    """A client that shows both said: "Read it again. Read it again." and never what had happened."""
    body = problem_body(Problem(code), base="", instance="/v1/returns", request_id="req_1")
    assert body["detail"] == f"{body['title']}."
    assert body["detail"] != body["advice"]


def test_every_fact_of_a_problem_is_in_the_contract_and_none_is_left_over() -> None:
    """A generated client knew no `allowed` and no `refundable`, though the advice names them."""
    texts = [path.read_text("utf-8") for path in SOURCE.rglob("*.py") if path.stem != "openapi_facts"]
    calls = [
        one for text in texts if "Problem(" in text for one in ast.walk(ast.parse(text)) if isinstance(one, ast.Call)
    ]
    told = {word.arg for one in calls if getattr(one.func, "id", "") == "Problem" for word in one.keywords if word.arg}
    assert len(told) > 30
    assert told - {"param", "errors"} - AMONG_PAGES <= FACTS.keys()
    assert [name for name in FACTS if name not in told and f'"{name}": ' not in "".join(texts)] == []


def test_facts_stand_after_the_standard_members_and_in_place_of_none() -> None:
    problem = Problem("still_due", "Something is due.", due=5, status="approved", errors=[])
    body = problem_body(problem, base="https://shop.example.com", instance="/v1/returns", request_id="req_1")
    assert list(body) == [
        "type", "title", "status", "detail", "advice", "instance", "code", "param", "request_id", "errors", "due",
    ]  # fmt: skip
    assert (body["status"], body["due"], body["detail"]) == (409, 5, "Something is due.")
