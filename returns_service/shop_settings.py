"""The settings of what customers see: the shop's name, address and look, and the portal's links and photos."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

Language = Literal["en", "de", "ar"]
SHORTEST_KEY = 32  # characters: 128 random bits even in hexadecimal
LOGO_TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".webp": "image/webp", ".jpg": "image/jpeg"}
LARGEST_LOGO_BYTES = 256 * 1024
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


class ShopSettings(BaseSettings):
    """What customers see of the shop, and how long links and how many photos are kept."""

    shop_name: str = Field(
        default="Returns",
        min_length=1,
        max_length=80,
        description="The shop's name, on the customer's pages.",
        examples=["Nordwind"],
    )
    shop_email: str | None = Field(
        default=None,
        description="Where customers write with questions.",
        examples=["service@shop.example"],
    )
    shop_address: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Where parcels go: the address on the return slip, its lines by semicolons.",
        examples=["Nordwind Returns; Am Güterbahnhof 12; 28195 Bremen; Germany"],
    )
    shop_colour: str = Field(
        default="#84264a",
        description="The shop's colour on the customer's pages; made darker or lighter where it couldn't be read.",
        examples=["#84264a"],
    )
    shop_logo: Path | None = Field(
        default=None,
        description="The shop's logo: an SVG, PNG, WebP or JPEG file of at most 256 KiB. Unset: the name alone.",
        examples=["logo.svg"],
    )
    shop_language: Language = Field(
        default="en",
        description="The customer's language where neither link nor browser says one: `en`, `de` or `ar`.",
        examples=["de"],
    )
    portal_key: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        description="Signs the links of the customer's portal, 32 characters or more; several, by commas, while "
        "rotating: the first signs. Unset: derived from STRIPE_SECRET_KEY, so that a new one ends all links.",
        examples=["the output of: openssl rand -hex 32"],
    )
    portal_days: int = Field(
        default=60,
        ge=1,
        le=3650,
        description="Days a link to the customer's portal works.",
        examples=["60"],
    )
    photo_storage_mb: int = Field(
        default=1024,
        ge=0,
        description="Megabytes of customers' photos that the database keeps at most; 0 takes none.",
        examples=["1024"],
    )

    smtp: SecretStr | None = Field(
        default=None,
        description="The mail server: `smtp://USER:PASSWORD@HOST:587` (STARTTLS where offered), `smtps://…:465`, "
        "or `smtp://…?tls=required`. Unset: customers get no mail.",
        examples=["smtps://returns:PASSWORD@mail.shop.example"],
    )
    mail_from: str | None = Field(
        default=None,
        description="The sender of mail to customers. Unset: RETURNS_SHOP_EMAIL.",
        examples=["returns@shop.example"],
    )
    mail_texts: Path | None = Field(
        default=None,
        description="A folder with the shop's own texts of mail: `en.toml`, `de.toml`, `ar.toml`, each with the texts "
        "that differ. Unset: ours.",
        examples=["mail_texts"],
    )

    staff_mail: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Who is told by mail, addresses by commas, when a refund fails or is stuck, or a day's refund rate "
        "is above the policy's limit; needs RETURNS_SMTP. Unset: nobody.",
        examples=["finance@shop.example,night@shop.example"],
    )

    @field_validator("smtp")
    @classmethod
    def _mail_server(cls, address: SecretStr | None) -> SecretStr | None:
        if address is not None:
            parts = urlsplit(address.get_secret_value())
            if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.query not in ("", "tls=required"):
                raise ValueError("must be smtp://HOST:PORT or smtps://HOST:PORT, with USER:PASSWORD@ before the host")
        return address

    @field_validator("mail_texts")
    @classmethod
    def _folder(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_dir():
            raise ValueError(f"there is no folder {str(path)!r}")
        return path

    @model_validator(mode="after")
    def _somebody_sends_mail(self) -> ShopSettings:
        if self.smtp is not None and self.sender is None:
            raise ValueError("RETURNS_MAIL_FROM: missing. Mail needs a sender: RETURNS_MAIL_FROM=returns@shop.example")
        if self.staff_mail and self.smtp is None:
            raise ValueError("RETURNS_STAFF_MAIL: needs a mail server. Set RETURNS_SMTP=smtp://HOST:587")
        return self

    @property
    def sender(self) -> str | None:
        """The address that mail to customers comes from."""
        return self.mail_from or self.shop_email

    @field_validator("shop_email", "mail_from")
    @classmethod
    def _mail_address(cls, address: str | None) -> str | None:
        if address is not None and not _EMAIL.fullmatch(address):
            raise ValueError("must be an e-mail address")
        return address

    @field_validator("staff_mail")
    @classmethod
    def _mail_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            cls._mail_address(address)
        return addresses

    @field_validator("shop_address", mode="before")
    @classmethod
    def _by_semicolons(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return [line.strip() for line in value.split(";") if line.strip()]

    @field_validator("portal_key", "staff_mail", mode="before")
    @classmethod
    def _keys_and_addresses_by_commas(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return [part.strip() for part in value.split(",") if part.strip()]

    @field_validator("portal_key")
    @classmethod
    def _long_enough(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value()) < SHORTEST_KEY for key in keys):
            raise ValueError(f"must be at least {SHORTEST_KEY} random characters")
        return keys

    @field_validator("shop_colour")
    @classmethod
    def _colour(cls, colour: str) -> str:
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
            raise ValueError("must be a colour such as #84264a")
        return colour.lower()

    @field_validator("shop_logo")
    @classmethod
    def _picture(cls, path: Path | None) -> Path | None:
        if path is None:
            return None
        if not path.is_file():
            raise ValueError(f"there is no file {str(path)!r}")
        if path.suffix.lower() not in LOGO_TYPES:
            raise ValueError("must be a file that ends in .svg, .png, .webp or .jpg")
        if path.stat().st_size > LARGEST_LOGO_BYTES:
            raise ValueError(f"must be at most {LARGEST_LOGO_BYTES // 1024} KiB")
        return path
