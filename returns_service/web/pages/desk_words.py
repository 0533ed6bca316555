"""The refund desk's kinds in words: their names, how bad they are, who has to move, and the truth about the money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from returns_service.domain.vocabulary import DeskKind


@dataclass(frozen=True, slots=True)
class KindWords:
    """How one kind of thing on the desk is spoken of."""

    short: str  # after a number
    label: str
    icon: str
    tone: str  # danger, warn or busy
    fact: str = ""  # the truth about the money; `{amount}` stands for it
    money: str = "none"  # moved, on-its-way, not-moved, unknown, none
    waits: bool = False  # for somebody else: a bank, the customer, Stripe
    cause: str = ""  # in a line, where what happened takes longer to say
    advice: str = ""  # where the API's own names a request to it


KINDS: Final[Mapping[DeskKind, KindWords]] = {
    "stripe_refuses": KindWords("refusals of our key", "Stripe refuses our key", "stop", "danger",
                                "Nothing can be refunded meanwhile; nothing is lost.", "not-moved"),
    "stripe_silent": KindWords("silent", "Stripe is silent", "offline", "danger"),
    "work_overdue": KindWords("overdue", "Work is overdue", "clock", "danger", "What is due has not moved.",
                              "not-moved"),
    "payment_overpaid": KindWords("paid twice", "Paid twice", "stop", "danger", "{amount} may have moved twice.",
                                  "unknown"),
    "difference": KindWords("differences", "Differs from Stripe", "stop", "danger",
                            "Our books and Stripe’s say different things about {amount}.", "unknown"),
    "refund_unknown": KindWords("unknown", "Unknown", "unknown", "warn",
                                "Nobody knows yet whether {amount} moved.", "unknown",
                                cause="Nobody knows yet whether it moved"),
    "refund_missing": KindWords("not at Stripe", "Not found at Stripe", "unknown", "warn",
                                "Stripe doesn’t know {amount} under its number.", "unknown"),
    "external_refund": KindWords("made outside", "Made outside", "out", "warn",
                                 "{amount} moved in Stripe’s Dashboard; nobody has said for what.", "moved",
                                cause="Made in Stripe’s Dashboard, for what?"),
    "refund_failed": KindWords("failed", "Failed", "stop", "danger", "{amount} did not reach the customer.",
                               "not-moved"),
    "dispute_lost": KindWords("lost disputes", "Dispute lost", "stop", "danger",
                              "The bank gave the customer the money back.", "moved"),
    "refund_barred": KindWords("held", "Due and held", "desk", "danger", "{amount} is due and has not moved.",
                               "not-moved"),
    "second_person": KindWords("for a second person", "Second person", "approved", "warn",
                               "{amount} waits for a second person and has not moved.", "not-moved",
                                cause="Waits for a second person"),
    "resolution_due": KindWords("to hand out", "Credit or exchange due", "desk", "warn",
                                "{amount} is due as store credit or in an exchange.", "not-moved",
                                cause="Store credit or an exchange to give"),
    "return_overpaid": KindWords("overpaid", "Overpaid", "desk", "warn",
                                 "{amount} moved for units that are worth less now.", "moved"),
    "return_to_decide": KindWords("to decide", "To decide", "desk", "warn", "Nothing moves until somebody decides.",
                                  "not-moved"),
    "undeclared_item": KindWords("undeclared", "Nobody announced", "aside", "warn",
                                 "Nothing is paid for these units.", "not-moved",
                                 advice="Decide what happens to it: count it, send it back, or scrap it."),
    "unmatched_receipt": KindWords("of nobody", "Parcels of nobody", "box", "warn",
                                   "Nothing is paid for this parcel.", "not-moved",
                                   advice="Find its return, or let the shop make one; then count the parcel there."),
    "refund_unsent": KindWords("not sent", "Not sent", "clock", "busy", "{amount} has not moved yet.", "not-moved",
                               waits=True),
    "refund_held": KindWords("held", "Held", "clock", "busy", "{amount} is held and has not moved.", "not-moved",
                             waits=True),
    "refund_rate": KindWords("days above the alert line", "Refund rate", "chart", "warn",
                             "{amount} was refunded on that day.", "moved"),
    "stripe_event": KindWords("unread events", "Unread event", "unknown", "warn", waits=True),
    "webhook_disabled": KindWords("listeners", "A listener was given up", "desk", "warn",
                                  advice="Enable it in the settings once it works: it is sent all it missed."),
    "mail_failed": KindWords("mails", "Somebody was not told", "desk", "warn"),
    "refund_requires_action": KindWords("at the customer", "Customer must act", "clock", "busy",
                                        "{amount} waits for the customer and has not moved.", "not-moved", waits=True),
    "refund_pending": KindWords("at the bank", "At the bank", "clock", "busy", "{amount} is on its way at the bank.",
                                "on-its-way", waits=True),
}  # fmt: skip
