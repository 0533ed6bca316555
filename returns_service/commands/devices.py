"""Shared devices of the dock: asked for, approved once, revoked. Only there do badges and PINs work."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import delete
from sqlmodel import col, func, select

from returns_service.commands.sessions import end_sessions_on
from returns_service.commands.tokens import LONGEST_TOKEN, hash_token, new_token
from returns_service.domain.problems import Problem
from returns_service.store.database import Tx
from returns_service.store.tables import Device

MOST_WRONG_CODES: Final = 10  # in a row; then the device has to be approved again
MOST_WAITING: Final = 50  # devices that nobody has approved yet
WAITS_FOR: Final = timedelta(days=1)
_LONGEST_NAME: Final = 60


async def ask_for_device(tx: Tx, name: str) -> tuple[Device, str]:
    """Return a device that waits for its approval, and its token. Raises Problem invalid_request, rate_limited."""
    name = " ".join(name.split())
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise Problem("invalid_request", "Name the device, for example Dock 2.", param="name")
    waiting = (col(Device.approved_at).is_(None)) & (col(Device.revoked_at).is_(None)) & (col(Device.wrong_codes) == 0)
    await tx.execute(delete(Device).where(waiting, col(Device.created_at) < tx.now - WAITS_FOR))
    if (await tx.exec(select(func.count()).select_from(Device).where(waiting))).one() >= MOST_WAITING:
        raise Problem("rate_limited", "Too many devices wait for an approval. Approve or revoke some first.")
    token = new_token()
    row = Device(id=tx.new_id("dev"), name=name, token_hash=hash_token(token), created_at=tx.now)
    tx.add(row)
    await tx.flush()
    return row, token


async def approve_device(tx: Tx, device_id: str, by: str) -> Device:
    """Let badges and PINs work on a device. Raises Problem not_found; a revoked one stays revoked."""
    row = await tx.get(Device, device_id)
    if row is None or row.revoked_at is not None:
        raise Problem("not_found", f"No device {device_id} waits for an approval.")
    row.approved_at, row.approved_by, row.wrong_codes = tx.now, by, 0
    return row


async def revoke_device(tx: Tx, device_id: str) -> Device:
    """Put a device out of use, at once and for good; sessions on it end. Raises Problem not_found."""
    row = await tx.get(Device, device_id)
    if row is None:
        raise Problem("not_found", f"There is no device {device_id}.")
    row.revoked_at = row.revoked_at or tx.now
    await end_sessions_on(tx, row.id)
    return row


async def list_devices(tx: Tx) -> list[Device]:
    """Return all devices, newest first."""
    return list((await tx.exec(select(Device).order_by(col(Device.id).desc()))).all())


async def device_of(tx: Tx, token: str) -> Device | None:
    """Return the device with this token, approved or waiting; None if there is none, or it is revoked."""
    if not 0 < len(token) <= LONGEST_TOKEN:
        return None
    row = (await tx.exec(select(Device).where(col(Device.token_hash) == hash_token(token)))).first()
    return row if row is not None and row.revoked_at is None else None


def count_code(tx: Tx, device: Device, *, right: bool) -> None:
    """Count a badge or PIN that was tried on a device; too many wrong ones in a row end its approval."""
    device.seen_at = tx.now
    device.wrong_codes = 0 if right else device.wrong_codes + 1
    if device.wrong_codes >= MOST_WRONG_CODES:
        device.approved_at = None
