"""`If-Match` and `If-None-Match` (RFC 9110, 13.1): a request that holds only for the version that was read."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from sqlalchemy import exists, or_
from sqlmodel import col, select

from returns_service.domain.problems import Problem
from returns_service.return_case.locked_payment import OF_RETURN, lock_row
from returns_service.return_case.views import ReturnView
from returns_service.store.database import Tx
from returns_service.store.tables import Event, ReturnAuthorization
from returns_service.web.operations.query_string import wrong

TAG = r'(?:W/)?"[\x21\x23-\x7e]*"'
LONGEST_TRANSACTION = timedelta(minutes=1)  # of one that began before another, and was committed after it
LIST = re.compile(rf"\s*{TAG}(?:\s*,\s*{TAG})*\s*")


def etag(version: int) -> str:
    """Return the ETag of a return's version."""
    return f'"{version}"'


def tags_in(header: str) -> list[str] | None:
    """Return the ETags in a header, None for `*`; a header that is no list of them names none."""
    if header.strip() == "*":
        return None
    return re.findall(TAG, header) if LIST.fullmatch(header) else []


async def check_if_match(tx: Tx, return_id: str, header: str) -> None:
    """Lock a return's payment and compare its version with `If-Match`.

    Raises Problem version_mismatch, or invalid_request for a header that is no list of ETags. A weak ETag matches
    nothing: only the very same version may be changed.
    """
    tags = tags_in(header)
    if tags == []:
        raise wrong("If-Match", 'Must be ETags as they were answered, in their double quotes ("3"), or *')
    if tags is None or await lock_row(tx, OF_RETURN, name=return_id) is None:
        return  # whether there is such a return, the action itself says
    chosen = select(ReturnAuthorization.version).where(col(ReturnAuthorization.id) == return_id)
    version = (await tx.exec(chosen)).one()
    if etag(version) not in tags:
        weak = "; a weak ETag, W/…, matches none" if f"W/{etag(version)}" in tags else ""
        raise Problem("version_mismatch", f"The return is at version {version} now{weak}.", version=version)


def is_known(header: str, tag: str) -> bool:
    """Return whether a client that sends this `If-None-Match` has what `tag` names already."""
    tags = tags_in(header)
    return tags is None or tag in [known.removeprefix("W/") for known in tags]


async def version_tells_all(tx: Tx, view: ReturnView) -> bool:
    """Return whether a return is as it was when its version was made: what it shows is not all of its own.

    A dispute of its payment, or another return on it, changes what is possible; an open refund is looked at again, and
    a method's time to refund runs out, without any event.
    """
    if view.refunds_waiting or view.refund_deadline is not None:
        return False
    since = datetime.fromisoformat(view.updated) - LONGEST_TRANSACTION
    of_others = or_(col(Event.return_id) != view.id, col(Event.return_id).is_(None))
    told = exists().where(col(Event.payment_id) == view.payment, of_others, col(Event.created_at) >= since)
    return not (await tx.execute(select(told))).scalar_one()
