"""What one page is: declared beside its function, once, for the router, the guards and the tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final

from litestar import Response
from litestar.datastructures import UploadFile

from returns_service.commands.sessions import SignedIn
from returns_service.domain.problems import Problem
from returns_service.domain.roles import READ
from returns_service.domain.vocabulary import Scope
from returns_service.queries.desk import DeskFigures, read_figures
from returns_service.return_case.events import Actor
from returns_service.store.database import Tx
from returns_service.web.context import Context, context_of
from returns_service.web.errors import request_id_of
from returns_service.web.pages.visitor import AnyRequest, Visitor

LONGEST_FORM_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class PageCall:
    """A request for a page that was let in, with its visitor and their form."""

    request: AnyRequest
    visitor: Visitor
    form: Mapping[str, Sequence[str]] = field(default_factory=dict)
    files: Mapping[str, Sequence[UploadFile]] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None  # sent by a script of ours instead of a form
    waiting: Mapping[str, int] = field(default_factory=dict)  # place -> what waits there for this person
    desk: DeskFigures | None = None  # as they were read for `waiting`

    @property
    def context(self) -> Context:
        """What all handlers work with."""
        return context_of(self.request)

    @property
    def paths(self) -> frozenset[str]:
        """The paths of all pages that are served."""
        return _paths_of(self.request.app.state.pages)

    @property
    def signed_in(self) -> SignedIn:
        """The session and its person. Raises Problem unauthorized for a stranger."""
        if self.visitor.signed_in is None:
            raise Problem("unauthorized")
        return self.visitor.signed_in

    @property
    def by(self) -> Actor:
        """The person who acts, as events record them."""
        return Actor(self.signed_in.user.id, request_id_of(self.request))

    def field(self, name: str) -> str:
        """Return a field of the form, without blanks around it; empty where it is missing."""
        return (self.form.get(name) or [""])[0].strip()

    def secret_field(self, name: str) -> str:
        """Return a field of the form exactly as it was typed."""
        return (self.form.get(name) or [""])[0]

    def query(self, name: str) -> str:
        """Return a parameter of the address; empty where it is missing, or holds what no text may hold."""
        value = self.request.query_params.get(name, "").strip()
        return "" if "\0" in value else value[:300]

    def may(self, scope: Scope) -> bool:
        """Return whether the person may do that."""
        return self.visitor.may(scope)

    def path(self, name: str) -> str:
        """Return a part of the path. Raises Problem not_found for what can be no id."""
        value = str(self.request.path_params[name])
        if not value.isascii() or not value.isprintable() or len(value) > 255:
            raise Problem("not_found")
        return value


async def read_desk(call: PageCall, tx: Tx) -> DeskFigures:
    """Return the desk's figures: those at hand, if this request has read them already."""
    return call.desk if call.desk is not None else await read_figures(tx)


@lru_cache(maxsize=1)
def _paths_of(pages: tuple[Page, ...]) -> frozenset[str]:
    return frozenset(page.path for page in pages)


PageWork = Callable[[PageCall], Awaitable[Response[Any]]]
ShowAgain = Callable[[PageCall, Problem], Awaitable[Response[Any]]]
Labels = Mapping[str, str]  # field, or a pattern of fields as `fnmatch` reads it -> label


@dataclass(frozen=True, eq=False)
class Page:
    """One method on one path. `scope` None: open to strangers; `or_scope` opens it as well.

    `personal`: not after a sign-in by badge or PIN.
    """

    method: str
    path: str
    name: str
    work: PageWork
    scope: Scope | None
    personal: bool = False
    longest_bytes: int = LONGEST_FORM_BYTES
    or_scope: Scope | None = None
    labels: Labels = field(default_factory=dict)  # of what people type into its form
    show_again: ShowAgain | None = None  # shows a form of another session in a way of its own, and does nothing

    def typed_in(self, form: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
        """Return what people typed and ticked in its form, each with its label; the same words once."""
        given = [
            (label, text.strip())
            for pattern, label in self.labels.items()
            for name in form
            if fnmatchcase(name, pattern)
            for text in form[name]
        ]
        return list(dict.fromkeys((label, text) for label, text in given if text))


def shows(
    path: str, *, scope: Scope | None = READ, personal: bool = False, or_scope: Scope | None = None
) -> Callable[[PageWork], Page]:
    """Declare a page that is looked at: it changes nothing."""
    return lambda work: Page("GET", path, _name(work), work, scope, personal, or_scope=or_scope)


def posts(
    path: str, *, scope: Scope | None = READ, personal: bool = False, longest_bytes: int = LONGEST_FORM_BYTES,
    labels: Labels | None = None, show_again: ShowAgain | None = None,
) -> Callable[[PageWork], Page]:  # fmt: skip
    """Declare what a form does: it answers with a redirect, so that a reload repeats nothing."""
    return lambda work: Page(
        "POST", path, _name(work), work, scope, personal, longest_bytes, labels=labels or {}, show_again=show_again
    )


def _name(work: PageWork) -> str:
    return f"page_{getattr(work, '__name__', '')}"
