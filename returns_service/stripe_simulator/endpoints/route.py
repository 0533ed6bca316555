"""A route of the API, and the helpers that its handlers share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .. import objects
from ..collection import Collection, Json
from ..form import Params
from ..ledger import Ledger
from ..refusals import not_found_error

Perform = Callable[[], Json]
Handler = Callable[[Ledger, Params, str], Perform]

PAGE = ("limit", "starting_after", "ending_before", "created")


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint: its address, its parameters, and the kind of object in its answer."""

    method: str
    template: str
    kind: str
    handler: Handler
    allowed: Sequence[str] = ()
    is_list: bool = False

    @property
    def pattern(self) -> re.Pattern[str]:
        """A pattern that matches its path; the id is the only group."""
        return re.compile(self.template.replace("{id}", "([^/]+)"))


def find_row(collection: Collection, name: str, param: str = "id") -> Json:
    """Return the object `name`; refuse with 404 if there is none."""
    row = collection.get(name)
    if row is None:
        raise not_found_error(collection.kind, name, param)
    return row


def make_reader(collection_of: Callable[[Ledger], Collection]) -> Handler:
    """Return the handler that reads one object by its id."""

    def read(ledger: Ledger, params: Params, name: str) -> Perform:
        return lambda: find_row(collection_of(ledger), name)

    return read


def make_lister(url: str, collection_of: Callable[[Ledger], Collection], *filters: str) -> Handler:
    """Return the handler that lists objects; `filters` are fields that a parameter of the same name must equal."""

    def list_rows(ledger: Ledger, params: Params, _: str) -> Perform:
        collection = collection_of(ledger)
        cursor, span = params.get_cursor(collection), params.get_span()
        values = {name: params.get_text(name) for name in filters}

        def matches(row: Json) -> bool:
            return all(value in (None, row[name]) for name, value in values.items())

        return lambda: objects.build_list(url, *collection.get_page(cursor, span, matches))

    return list_rows
