"""A subset of Stripe's search language (docs.stripe.com/search): clauses joined by AND, or by OR.

A clause is `field:"value"`, `-field:"value"`, `field:null`, or `field>100` with `>`, `<`, `>=` or `<=`. Fields: amount,
created, currency, customer, payment_intent, status and `metadata["key"]`. Unlike at Stripe, a new object is found at
once.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

from . import objects
from .collection import Collection, Json
from .form import Params
from .ledger import Ledger
from .refusals import Refusal, param_error

PARAMS = ("query", "limit", "page")

_FIELDS = ("amount", "created", "currency", "customer", "payment_intent", "status")
_CLAUSE = re.compile(
    r"""\s*(?P<minus>-?)(?P<field>[a-z_]+)(?:\[(?P<q>["'])(?P<key>[^"']{1,40})(?P=q)\])?\s*"""
    r"""(?P<sign>>=|<=|[:<>])\s*(?P<value>"[^"]*"|'[^']*'|[\w.+-]+)\s*"""
)
_JOIN = re.compile(r"(?i:(and|or))\s")
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le,
}  # fmt: skip

Matcher = Callable[[Json], bool]


def parse_query(query: str) -> Matcher:
    """Return the function that decides whether an object matches `query`; refuse a query it cannot read."""
    clauses: list[Matcher] = []
    joins: set[str] = set()
    at = 0
    while True:
        match = _CLAUSE.match(query, at)
        if match is None:
            raise _query_error(query)
        clauses.append(_make_clause(match, query))
        at = match.end()
        if at == len(query):
            break
        join = _JOIN.match(query, at)
        joins.add(join[1].lower() if join else "and")
        at = join.end() if join else at
    if len(joins) > 1:
        raise param_error("A query may join its clauses by AND or by OR, not by both.", "query")
    decide = any if joins == {"or"} else all
    return lambda row: decide(clause(row) for clause in clauses)


def _make_clause(match: re.Match[str], query: str) -> Matcher:
    field, key, sign = match["field"], match["key"], match["sign"]
    if (field == "metadata") != (key is not None) or (field != "metadata" and field not in _FIELDS):
        raise param_error(f"Field {field} is an unsupported search field.", "query")
    text = match["value"].strip("\"'")
    is_null = match["value"] == "null"
    number = int(text) if re.fullmatch(r"-?[0-9]{1,15}", text) else None
    if sign != ":" and number is None:
        raise _query_error(query)

    def matches(row: Json) -> bool:
        value = row["metadata"].get(key) if key is not None else row.get(field)
        if is_null:
            return value is None
        if sign != ":":
            return isinstance(value, int) and _SIGNS[sign](value, number)
        return value is not None and str(value) == text

    return (lambda row: not matches(row)) if match["minus"] else matches


def _query_error(query: str) -> Refusal:
    return param_error(f"We were unable to parse your search query: {query}.", "query")


def make_searcher(
    url: str, collection_of: Callable[[Ledger], Collection]
) -> Callable[[Ledger, Params, str], Callable[[], Json]]:
    """Return the handler that searches a collection, newest first. `page` is the `next_page` of the page before."""

    def search(ledger: Ledger, params: Params, _: str) -> Callable[[], Json]:
        matches, limit = parse_query(params.require_text("query")), params.get_integer("limit", 1, 100) or 10
        start = params.get_integer("page", 0) or 0
        rows = [row for row in collection_of(ledger).newest_first() if matches(row)]
        following = str(start + limit) if start + limit < len(rows) else None
        return lambda: objects.build_search_result(url, rows[start : start + limit], following)

    return search
