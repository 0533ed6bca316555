"""Secrets that have to be read again, sealed in the database by a key that isn't in it.

A copy of the database, a backup say, signs nobody's webhooks. To rotate the key: put a new one before the old; at the
next start all is sealed anew by the first, and the old one may go. https://cryptography.io/en/latest/fernet/
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

SEALED = "sealed:"  # a sealed secret begins so; one that an older release wrote does not


class CannotOpen(ValueError):
    """A secret was sealed by a key that is not among those given."""


class Vault:
    """Seals secrets by the first of `keys`, opens what any of them sealed; without keys secrets stay as they are."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self.keys = tuple(keys)

    @cached_property
    def _fernets(self) -> MultiFernet:
        from cryptography.fernet import Fernet, MultiFernet  # loads OpenSSL: only where there is something to seal

        digests = [hashlib.sha256(b"returns-service secrets\n" + key).digest() for key in self.keys]
        return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])

    def seal(self, secret: str) -> str:
        """Return a secret as it is stored."""
        return SEALED + self._fernets.encrypt(secret.encode()).decode() if self.keys else secret

    def open(self, stored: str) -> str:
        """Return the secret that was stored. Raises CannotOpen where its key is missing."""
        if not stored.startswith(SEALED):
            return stored
        if self.keys:
            from cryptography.fernet import InvalidToken

            try:
                return self._fernets.decrypt(stored.removeprefix(SEALED)).decode()
            except InvalidToken:
                pass
        raise CannotOpen("It was sealed by a key that is not set.")

    def is_current(self, stored: str) -> bool:
        """Return whether the first key sealed it, so that nothing is to be done about it. Raises CannotOpen."""
        self.open(stored)
        if not self.keys:
            return True
        try:
            Vault(self.keys[:1]).open(stored)
        except CannotOpen:
            return False
        return stored.startswith(SEALED)
