"""What the past leaves on each page: something to approve, to receive, to settle, to find out. One row, one thing."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from PIL import Image, ImageDraw

from returns_service.commands.counting import Undeclared
from returns_service.commands.devices import ask_for_device
from returns_service.commands.unmatched_receipts import Parcel, UnmatchedItem, create_unmatched
from returns_service.demo.calendar import Calendar
from returns_service.demo.catalogue import BY_SKU, SHIPPING, email_of
from returns_service.demo.history import line_of
from returns_service.demo.past import Order, Past
from returns_service.domain.portal_offer import Pick
from returns_service.domain.vocabulary import Condition, Resolution
from returns_service.images import CleanPhoto, clean_photo
from returns_service.store.database import Tx

COMPARED_HOURS: Final = 0.5  # since the day's comparison with Stripe
MADE_IN_DASHBOARD: Final = 5000  # minor units
GOODWILL: Final = 12_000  # minor units
ONE_PERSON_DECIDES: Final = 10_000  # minor units of euros, at most, when that goodwill was decided
TRIED_AGAIN_SECONDS: Final = 10.0  # by then the worker has asked Stripe a second time
Step = Callable[[Past, Order, str], Awaitable[None]]


async def approve(past: Past, _: Order, return_id: str) -> None:
    """The approver says yes."""
    await past.approve(return_id)


async def count_all(past: Past, order: Order, return_id: str) -> None:
    """The dock counts everything."""
    await past.count(return_id, [(line.sku, line.quantity, "new") for line in order.lines])


async def count_one(past: Past, order: Order, return_id: str) -> None:
    """The dock counts one unit; the rest is in another parcel."""
    await past.count(return_id, [(order.lines[0].sku, 1, "new")])


async def count_with_stranger(past: Past, order: Order, return_id: str) -> None:
    """The dock counts everything, and something that nobody announced."""
    units: list[tuple[str, int, Condition]] = [(line.sku, line.quantity, "opened") for line in order.lines]
    stranger = Undeclared("CASE-GLASSES", 1, "Reading glasses in their case, between the sleeves")
    await past.count(return_id, units, [stranger])


async def refund_in_dashboard(past: Past, order: Order, _: str) -> None:
    """A colleague refunds a part in the Stripe Dashboard, and tells nobody what for."""
    past.dashboard.refund(order.payment_intent, MADE_IN_DASHBOARD)
    await past.deliver()


async def count_into_silence(past: Past, order: Order, return_id: str) -> None:
    """The dock counts everything; Stripe answers with an error that it repeats, so nobody knows what it did."""
    past.faults.arm("stored_500", count=1, method="POST", path="/v1/refunds")
    await count_all(past, order, return_id)
    await past.turn(past.clock() + timedelta(seconds=TRIED_AGAIN_SECONDS))
    await past.work()


async def give_goodwill(past: Past, _: Order, return_id: str) -> None:
    """Finance gives more than is due, and more than the policy of that day let one person decide."""
    why = "The other coat’s zip is broken too; she keeps it at this price."
    await past.add_goodwill(return_id, GOODWILL, why, one_person_decides=ONE_PERSON_DECIDES)


async def count_without_balance(past: Past, order: Order, return_id: str) -> None:
    """The dock counts everything while the shop's balance at Stripe is too low."""
    past.ledger.settings.balance = "short_waits"
    await count_all(past, order, return_id)
    past.ledger.settings.balance = "enough"


@dataclass(frozen=True, slots=True)
class Scene:
    """An order that came back and waits for somebody. Days and hours are counted back from the present."""

    what: str
    customer: str
    items: tuple[tuple[str, int], ...]
    reason: str
    bought_days: float
    asked_hours: float
    steps: tuple[tuple[float, Step], ...] = ()
    resolution: Resolution = "refund"
    card: str = "pm_card_visa"
    has_photo: bool = False  # sent by the customer's portal


SCENES: Final = (
    Scene("inside the policy", "Birgit Østergård", (("DRESS-LIN-38", 1),), "not_as_described", 6, 26),
    Scene("inside the policy, three articles", "Jonas Weber",
          (("JEAN-RAW-32", 1), ("JEAN-RAW-34", 1), ("SOCK-MER-3", 2)), "too_small", 4, 7),
    Scene("inside the policy, with a photo", "Amélie Laurent", (("MUG-STONE", 4),), "damaged", 5, 2,
          has_photo=True),
    Scene("a word that is in no catalogue", "Hugo Martin", (("BLANKET-WOOL", 1),),
          "It sheds more than my dog does", 9, 0.7),
    Scene("outside the policy: needs a reason", "Ruth Abramson", (("BOOT-CHEL-42", 1),), "changed_mind",
          47, 19),
    Scene("its parcel is here before the decision", "Sven Köhler", (("SHIRT-OX-WHT-M", 2),), "too_large",
          8, 90, ((4.2, count_all),)),
    Scene("a parcel on its way", "Freja Nielsen", (("CREW-MER-UND-L", 2), ("TOTE-NAT", 1)), "too_large",
          7, 70, ((52, approve),)),
    Scene("a parcel on its way, fragile", "Luca Ferrari", (("LAMP-DESK-BRS", 1), ("MUG-STONE", 2)),
          "damaged", 8, 95, ((76, approve),)),
    Scene("one parcel of two is here", "Clara Fuchs", (("SOCK-MER-3", 3),), "changed_mind",
          10, 110, ((98, approve), (3.1, count_one))),
    Scene("an item that nobody announced", "Grace O’Neill", (("PARKA-RAIN-M", 1),), "not_as_described",
          11, 120, ((100, approve), (2.6, count_with_stranger))),
    Scene("a refund that failed at the bank", "Tomás Ibáñez", (("JEAN-RAW-34", 1),), "too_large",
          14, 190, ((170, approve), (66, count_all)), card="pm_card_refundFail"),
    Scene("a refund of which nobody knows", "Katarzyna Wójcik", (("SCARF-ALP-GRY", 1),), "changed_mind",
          12, 130, ((110, approve), (1.9, count_into_silence))),
    Scene("a refund that waits for the balance", "Emil Johansson", (("BOOT-CHEL-42", 1),), "too_small",
          12, 128, ((109, approve), (5.5, count_without_balance))),
    Scene("a refund that is at its bank", "Selma Aydın", (("DRESS-LIN-38", 1),), "too_small",
          13, 140, ((120, approve), (28, count_all)), card="pm_card_pendingRefund"),
    Scene("a refund made in the Dashboard, for nobody knows what", "Bram de Vries",
          (("BLANKET-WOOL", 1),), "changed_mind", 13, 143,
          ((121, approve), (30, refund_in_dashboard), (4.6, count_all))),
    Scene("a refund that waits for a second person", "Ingrid Solberg", (("PARKA-RAIN-M", 2),), "damaged",
          13, 139, ((118, approve), (45, count_one), (7.2, give_goodwill))),
    Scene("a disputed payment", "Viktor Nilsson", (("PARKA-RAIN-M", 1),), "not_as_described",
          3, 69, ((66, approve), (3.6, count_all)), card="pm_card_createDispute"),
    Scene("an exchange to send", "Hanna Lindqvist", (("CREW-MER-UND-M", 1),), "too_small",
          13, 146, ((122, approve), (21, count_all)), resolution="exchange"),
    Scene("store credit to give", "Nadia Rahimi", (("LAMP-DESK-BRS", 1),), "changed_mind",
          14, 150, ((124, approve), (22, count_all)), resolution="store_credit"),
)  # fmt: skip


def plan_scenes(calendar: Calendar) -> None:
    """Let everything come to pass that waits at the present."""
    for scene in SCENES:
        calendar.add(_ago(calendar, days=scene.bought_days), partial(_buy, calendar, scene))
    calendar.add(_ago(calendar, hours=1.2), partial(_leave_parcel, calendar.past))
    calendar.add(_ago(calendar, hours=3.9), partial(_bring_device, calendar.past))
    calendar.add(_ago(calendar, hours=COMPARED_HOURS), calendar.past.compare)


def first_moment(present: datetime) -> datetime:
    """Return when the first order of a scene is bought."""
    return present - timedelta(days=max(scene.bought_days for scene in SCENES))


def _ago(calendar: Calendar, *, days: float = 0, hours: float = 0) -> datetime:
    return calendar.ends_at - timedelta(days=days, hours=hours)


async def _buy(calendar: Calendar, scene: Scene) -> None:
    lines = [line_of(BY_SKU[sku], units) for sku, units in scene.items]
    past, customer = calendar.past, scene.customer
    order = past.buy(past.next_order(), customer, email_of(customer), lines, shipping=SHIPPING, card=scene.card)
    if scene.has_photo:
        send = partial(past.send_from_portal, order, Pick(0, 1, scene.reason), draw_photo())
        calendar.add(_ago(calendar, hours=scene.asked_hours), partial(_ask, calendar, scene, order, send))
    else:
        request = partial(
            past.request, order, order.lines, scene.reason, resolution=scene.resolution,
            tracking_numbers=[f"JJD0144{order.order_id[3:]}20773"],
        )  # fmt: skip
        calendar.add(_ago(calendar, hours=scene.asked_hours), partial(_ask, calendar, scene, order, request))


async def _ask(calendar: Calendar, scene: Scene, order: Order, request: Callable[[], Awaitable[str]]) -> None:
    return_id = await request()
    for hours, step in scene.steps:
        calendar.add(_ago(calendar, hours=hours), partial(step, calendar.past, order, return_id))


async def _leave_parcel(past: Past) -> None:
    """Leave a parcel at the dock that no return announced."""
    parcel = Parcel(
        [UnmatchedItem("SCARF-ALP-GRY", 1, "new"), UnmatchedItem("TOTE-NAT", 1, "opened")],
        tracking_number="1Z999AA10123456784", note="No slip inside; the sender's name is smudged",
    )  # fmt: skip

    async def work(tx: Tx) -> None:
        await create_unmatched(tx, past.people["warehouse"], parcel)

    await past.run(work)


async def _bring_device(past: Past) -> None:
    """Bring a shared scanner to the dock that an admin has to approve."""
    await past.run(partial(ask_for_device, name="Dock 2, hand scanner"))


def draw_photo() -> CleanPhoto:
    """Return a customer's photo of a mug with a crack, drawn."""
    picture = Image.new("RGB", (900, 675), "#b9a98f")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 470, 900, 675), fill="#8d7a5f")
    pen.ellipse((560, 240, 720, 430), outline="#d9d4c8", width=34)
    pen.rounded_rectangle((290, 160, 620, 540), radius=46, fill="#d9d4c8")
    pen.ellipse((290, 120, 620, 210), fill="#c5bfb0")
    pen.ellipse((315, 134, 595, 198), fill="#5d4a3a")
    pen.line(((420, 200), (440, 268), (418, 330), (452, 396), (438, 452)), fill="#3b342c", width=6, joint="curve")
    pen.line(((440, 268), (486, 300)), fill="#3b342c", width=4)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return clean_photo(out.getvalue())
