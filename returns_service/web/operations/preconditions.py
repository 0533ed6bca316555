"""`If-Match` and `If-None-Match` (RFC 9110, 13.1): a request that holds only for the version that was read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import exists, or_
from sqlmodel import col, select

from returns_service.domain.problems import Problem
from returns_service.return_case.locked_payment import OF_REFUND, OF_RETURN, lock_row
from returns_service.return_case.views import ReturnView
from returns_service.store.database import Tx
from returns_service.store.tables import Event, Refund, ReturnAuthorization

TAG = r'(?:W/)?"[\x21\x23-\x7e]*"'
LONGEST_TRANSACTION = timedelta(minutes=1)  # a transaction that began before another may be committed so much later
LIST = re.compile(rf"\s*{TAG}(?:\s*,\s*{TAG})*\s*")


def etag(version: int) -> str:
    """Return the ETag of a return's version."""
    return f'"{version}"'


def tags_in(header: str) -> list[str] | None:
    """Return the ETags in a header, None for `*`; a header that is no list of them names none."""
    if header.strip() == "*":
        return None
    return re.findall(TAG, header) if LIST.fullmatch(header) else []


async def check_if_match(tx: Tx, path: Mapping[str, str], header: str) -> None:
    """Lock the payment of the return in a path, or of a refund's return, and compare its version with `If-Match`.

    A weak ETag matches nothing: only the very same version may be changed. Raises Problem version_mismatch.
    """
    tags, refund_id = tags_in(header), path.get("refund_id")
    if tags == []:
        raise Problem("version_mismatch", 'Send ETags as they were answered, in their double quotes ("3"), or *.')
    statement, name = (OF_REFUND, refund_id) if refund_id is not None else (OF_RETURN, path["return_id"])
    if tags is None or await lock_row(tx, statement, name=name) is None:
        return  # the action itself says whether there is such a return or refund
    chosen = select(ReturnAuthorization.version)
    if refund_id is not None:
        of_refund = col(Refund.return_id) == col(ReturnAuthorization.id)
        chosen = chosen.join(Refund, of_refund).where(col(Refund.id) == refund_id)
    else:
        chosen = chosen.where(col(ReturnAuthorization.id) == name)
    version = (await tx.exec(chosen)).first()
    if version is None:
        raise Problem("version_mismatch", "This refund is of no return, whose version could be compared.")
    if etag(version) not in tags:
        weak = "; a weak ETag, W/…, matches none" if f"W/{etag(version)}" in tags else ""
        raise Problem("version_mismatch", f"The return is at version {version} now{weak}.", version=version)


def check_no_if_match(header: str | None) -> None:
    """Refuse the `If-Match` of a request that has no version to compare: it would be done whatever has changed.

    Raises Problem version_mismatch.
    """
    if header is not None and tags_in(header) is not None:
        raise Problem("version_mismatch", "There is no version to compare here: send it without `If-Match`.")


def is_known(header: str, tag: str) -> bool:
    """Return whether a client that sends this `If-None-Match` has what `tag` names already."""
    tags = tags_in(header)
    return tags is None or tag in [known.removeprefix("W/") for known in tags]


async def version_tells_all(tx: Tx, view: ReturnView) -> bool:
    """Return whether a return's version tells all that the return shows, since some of that is not its own.

    A dispute of its payment, or another return on it, changes what is possible; an open refund is looked at again, and
    a method's time to refund runs out, without any event.
    """
    if view.refunds_waiting or view.refund_deadline is not None:
        return False
    since = datetime.fromisoformat(view.updated) - LONGEST_TRANSACTION
    of_others = or_(col(Event.return_id) != view.id, col(Event.return_id).is_(None))
    told = exists().where(col(Event.payment_id) == view.payment, of_others, col(Event.created_at) >= since)
    return not (await tx.execute(select(told))).scalar_one()
