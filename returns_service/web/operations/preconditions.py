"""`If-Match` and `If-None-Match` (RFC 9110, 13.1): a request that holds only for the version that was read."""

from __future__ import annotations

import re

from sqlmodel import col, select

from returns_service.domain.problems import Problem
from returns_service.return_case.locked_payment import OF_RETURN, lock_row
from returns_service.store.database import Tx
from returns_service.store.tables import ReturnAuthorization

TAG = r'(?:W/)?"[\x21\x23-\x7e]*"'
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
    """Lock a return's payment and compare its version with `If-Match`. Raises Problem version_mismatch.

    A weak ETag matches nothing: only the very same version may be changed.
    """
    tags = tags_in(header)
    if tags is None or await lock_row(tx, OF_RETURN, name=return_id) is None:
        return  # whether there is such a return, the action itself says
    chosen = select(ReturnAuthorization.version).where(col(ReturnAuthorization.id) == return_id)
    version = (await tx.exec(chosen)).one()
    if etag(version) not in tags:
        raise Problem("version_mismatch", version=version)


def is_known(header: str, tag: str) -> bool:
    """Return whether a client that sends this `If-None-Match` has what `tag` names already."""
    tags = tags_in(header)
    return tags is None or tag in [known.removeprefix("W/") for known in tags]
