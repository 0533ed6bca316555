"""The words of a person, in rows and in the JSON copies of them: some are forgotten, some stay.

Free text of people is replaced, since nobody can say whose name it holds; reasons out of the catalogue stay, because
fees depend on them. Names that are only compared (order lines, scan ids) get a stand-in, so that no unit is sent back
twice and no scan is counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from returns_service.domain.forgotten import REDACTED, pseudonym
from returns_service.domain.policy import Policy
from returns_service.domain.search_text import normalise
from returns_service.domain.vocabulary import STRIPE_REASONS
from returns_service.return_case.transition import RecordedTrigger

METADATA_OF_OURS: Final = ("refund_id", "lines", "return_id", "order_id")  # the money is found again by it
# Triggers whose reasons are this service's own words, or Stripe's.
SAID_BY_US: Final[tuple[RecordedTrigger, ...]] = (
    "refund_barred",
    "settle",
    "fail",
    "adopt",
    "withdraw",
    "take_back",
    "resolution",
    "follow_order",
)
FREE_TEXT: Final = ("internal_note", "note", "text", "override_reason", "reversed_reason")
EMPTIED: Final = ("customer_email", "customer_name", "instructions_email", "scanned")  # they hold nothing else
SCANNED_UNDER: Final = ("undeclared", "items")  # lists of units whose SKU is what somebody scanned or typed


class Words:
    """Tells the words of a person from what must stay. `names`: what they are known by; `codes`: SKUs of the shop's."""

    def __init__(
        self,
        policy: Policy,
        names: Iterable[str | None],
        *,
        order_id: str = "",
        return_id: str = "",
        codes: Iterable[str] = (),
        keep_parcels: bool = False,
    ) -> None:
        self.kept = {*policy.reasons, *STRIPE_REASONS, REDACTED}
        self.emptied: dict[str, Any] = dict.fromkeys(EMPTIED)
        if not keep_parcels:
            self.emptied |= {"tracking_numbers": [], "tracking_number": None}
        known = [name for name in names if name]
        self.addresses = [name for name in known if "@" in name]
        # A single word ("May", "Open") would be found in texts that aren't about the person.
        self.names = [text for text in map(normalise, known) if "@" in text or " " in text]
        self.order_id, self.return_id, self.codes = order_id, return_id, {*codes, REDACTED}

    def word(self, text: Any) -> Any:
        """Return a reason or note: a word of the catalogue as it is, all else forgotten."""
        return text if text is None or text == "" or text in self.kept else REDACTED

    def code(self, text: Any) -> Any:
        """Return what was scanned or typed as an SKU: one of the shop's as it is, all else forgotten."""
        return text if text is None or text in self.codes else REDACTED

    def order_line(self, text: str | None) -> str | None:
        """Return the stand-in for a line of the order."""
        return None if text is None else pseudonym(text, self.order_id)

    def scan_id(self, text: str | None) -> str | None:
        """Return the stand-in for the id of a scan of the return."""
        return None if text is None else pseudonym(text, self.return_id)

    def reference(self, text: str | None, method: object) -> str | None:
        """Return the reference of money that was settled outside: Stripe's own stays, one that a person typed goes."""
        return text if text is None or method == "dashboard_refund" else REDACTED

    def plain(self, text: str) -> str:
        """Return any other text, forgotten where it holds one of the person's names."""
        low = normalise(text)
        return REDACTED if any(name in low for name in self.names) else text

    def forget_row(self, row: Any, free: tuple[str, ...], catalogued: tuple[str, ...] = ()) -> bool:
        """Forget columns of free text, and reasons that are in no catalogue; return whether one changed."""
        new = {name: getattr(row, name) and REDACTED for name in free}
        return self.put(row, **new, **{name: self.word(getattr(row, name)) for name in catalogued})

    def clear(self, row: Any, name: str) -> bool:
        """Empty a column; return whether it held something."""
        return self.put(row, **{name: None})

    def forget_values(self, row: Any, name: str, kept: tuple[str, ...]) -> bool:
        """Forget the values of metadata; its keys stay."""
        return self.put(row, **{name: self._values(getattr(row, name), kept)})

    def forget_trees(self, row: Any, *names: str) -> bool:
        """Forget what is personal anywhere in JSON columns, and in texts that are not a person's own."""
        return self.put(row, **{name: self.tree(getattr(row, name)) for name in names})

    def tree(self, value: Any, under: str = "") -> Any:
        """Return JSON without what is personal in it, at any depth."""
        if isinstance(value, list):
            return [self.tree(one, under) for one in value]
        if isinstance(value, str):
            return self.plain(value)
        if not isinstance(value, dict):
            return value
        return {name: self._field(name, one, value, under) for name, one in value.items()}

    def _field(self, name: str, one: Any, of: Mapping[str, Any], under: str) -> Any:
        """Return one field of an object without what is personal in it; `under`: the object's own name."""
        if name in self.emptied:
            return self.emptied[name]
        if name == "metadata" and isinstance(one, dict):
            return self._values(one, METADATA_OF_OURS)
        if isinstance(one, str) and under not in ("policy", "refund_barred", "barred_actions"):
            if _is_said_by_people(name, of):
                return self.word(one)
            if name == "order_line":
                return self.order_line(one)
            if name == "scan_id":
                return self.scan_id(one)
            if name == "reference" and "method" in of:
                return self.reference(one, of["method"])
            if name == "title" and under == "lines":
                return REDACTED
            if name == "sku" and under in SCANNED_UNDER:
                return self.code(one)
        return self.tree(one, "policy" if under == "policy" else name)

    def _values(self, metadata: Mapping[str, Any], kept: tuple[str, ...]) -> dict[str, Any]:
        return {name: value if name in kept or value == "" else REDACTED for name, value in metadata.items()}

    def put(self, row: Any, **values: Any) -> bool:
        """Set columns of a row; return whether one changed."""
        changed = {name: value for name, value in values.items() if getattr(row, name) != value}
        for name, value in changed.items():
            setattr(row, name, value)
        return bool(changed)


def _is_said_by_people(name: str, of: Mapping[str, Any]) -> bool:
    """Return whether a field of an object holds words that a person wrote, or the title of what they bought."""
    if name == "reason":
        return of.get("trigger") not in SAID_BY_US
    return name in FREE_TEXT or (name == "description" and bool(of.get("adjustment") or of.get("line")))
