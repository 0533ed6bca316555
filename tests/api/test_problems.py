"""A problem as it is answered: `detail` says what happened, `advice` what can be done, its own facts come last."""

from __future__ import annotations

import pytest

from returns_service.domain.problems import PROBLEMS, Problem, ProblemCode
from returns_service.web.errors import problem_body


@pytest.mark.parametrize("code", PROBLEMS)
def test_no_problem_says_its_advice_twice(code: ProblemCode) -> None:
    """A client that shows both said: "Read it again. Read it again." and never what had happened."""
    body = problem_body(Problem(code), base="", instance="/v1/returns", request_id="req_1")
    assert body["detail"] == f"{body['title']}."
    assert body["detail"] != body["advice"]


def test_facts_stand_after_the_standard_members_and_in_place_of_none() -> None:
    problem = Problem("still_due", "Something is due.", due=5, status="approved", errors=[])
    body = problem_body(problem, base="https://shop.example.com", instance="/v1/returns", request_id="req_1")
    assert list(body) == [
        "type", "title", "status", "detail", "advice", "instance", "code", "param", "request_id", "errors", "due",
    ]  # fmt: skip
    assert (body["status"], body["due"], body["detail"]) == (409, 5, "Something is due.")
