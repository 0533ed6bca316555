"""Passwords and PINs, hashed by argon2id.

The costs are OWASP's second choice (19 MiB, 2 passes): a web process must survive several sign-ins at once.
https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
All functions here take tens of milliseconds of CPU: call them in a thread, never inside a transaction.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type, hash_secret_raw

from returns_service.domain.problems import Problem

SHORTEST_PASSWORD: Final = 12  # characters
LONGEST_PASSWORD: Final = 256  # characters; longer ones only cost time
_MEMORY_KIB, _PASSES, _LANES = 19_456, 2, 1
_HASHER = PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=_LANES)
# A PIN is found by its hash, so all PINs share one salt. Its six digits could be tried out with any salt: what protects
# a PIN is that it works on approved devices only, and that ten wrong ones in a row end a device's approval.
_PIN_SALT: Final = b"returns-service: the PINs of the dock"


def hash_password(password: str) -> str:
    """Return the form in which a password is kept. Raises Problem invalid_request for one that is too short."""
    if len(password) < SHORTEST_PASSWORD:
        raise Problem("invalid_request", f"A password has at least {SHORTEST_PASSWORD} characters.", param="password")
    if len(password) > LONGEST_PASSWORD:
        raise Problem("invalid_request", f"A password has at most {LONGEST_PASSWORD} characters.", param="password")
    return _HASHER.hash(password)


def matches(password: str, password_hash: str | None) -> bool:
    """Return whether the password is the one behind the hash. Takes as long where there is no hash."""
    try:
        _HASHER.verify(password_hash or _nobodys_hash(), password[: LONGEST_PASSWORD + 1])
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


def hash_pin(pin: str) -> str:
    """Return the form in which a PIN is kept and looked up."""
    return hash_secret_raw(pin.encode(), _PIN_SALT, _PASSES, _MEMORY_KIB, _LANES, 32, Type.ID).hex()


@cache
def _nobodys_hash() -> str:
    return _HASHER.hash("the time it takes tells nobody whether an account exists")
