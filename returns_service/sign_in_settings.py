"""The settings of how staff sign in: by passwords of ours, by an OpenID Connect provider of the company's, or both."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from returns_service.addresses import is_address
from returns_service.shop_settings import ShopSettings

StaffRole = Literal["warehouse", "approver", "finance", "admin"]
LOOPBACK = ("127.0.0.1", "::1", "localhost")
NEEDED = {
    "oidc_issuer": "the provider's issuer, https://login.shop.example",
    "oidc_client_id": "the id that the provider gave this service",
    "oidc_client_secret": "the secret that belongs to RETURNS_OIDC_CLIENT_ID",
}


class SignInSettings(ShopSettings):
    """What `Settings` inherits about how staff sign in."""

    oidc_issuer: str | None = Field(
        default=None,
        description="The OpenID Connect provider that staff sign in with, exactly as it calls itself; needs "
        "`returns-service[oidc]`, RETURNS_PUBLIC_URL and the next two. Unset: none.",
        examples=["https://login.shop.example"],
    )
    oidc_client_id: str | None = Field(
        default=None,
        description="The id that the provider gave this service.",
        examples=["returns"],
    )
    oidc_client_secret: SecretStr | None = Field(
        default=None,
        description="The secret that belongs to that id.",
        examples=["the secret that the provider shows"],
    )
    oidc_label: str = Field(
        default="Sign in with your company account",
        min_length=1,
        max_length=60,
        description="What the button says that leads to the provider.",
        examples=["Sign in with Nordwind"],
    )
    oidc_scope: str = Field(
        default="openid email profile",
        description="What the provider is asked for; some tell groups only under a scope of their own.",
        examples=["openid email profile groups"],
    )
    oidc_roles_claim: str = Field(
        default="groups",
        min_length=1,
        description="The claim that holds a person's groups or roles; dots lead into it: `realm_access.roles`.",
        examples=["groups"],
    )
    oidc_roles: Annotated[tuple[tuple[str, StaffRole], ...], NoDecode] = Field(
        default=(),
        description="Which group has which role, pairs by semicolons; the first that fits counts. Its members are let "
        "in without being added before. Unset: only people who were added sign in, in the role they have here.",
        examples=["returns-admins=admin; finance=finance; dock=warehouse"],
    )
    password_sign_in: bool = Field(
        default=True,
        description="Whether passwords sign in beside the provider; links that an admin makes always do.",
        examples=["0"],
    )

    @field_validator("oidc_issuer")
    @classmethod
    def _issuer(cls, url: str | None) -> str | None:
        # Kept to the letter, a slash at its end too: the provider's tokens name the same.
        if url is not None and not (is_address(url) and is_private(url)):
            raise ValueError("must be an https address without ? and #, to the letter as the provider calls itself")
        return url

    @field_validator("oidc_scope")
    @classmethod
    def _with_openid(cls, scope: str) -> str:
        if "openid" not in scope.split():
            raise ValueError("must name openid among its words")
        return " ".join(scope.split())

    @field_validator("oidc_roles", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        # A group may be a name of a directory, cn=admins,ou=groups: the last = stands before the role.
        pairs = [part.rpartition("=") for part in value.split(";") if part.strip()]
        if not all(group.strip() for group, _, _ in pairs):
            raise ValueError("must be pairs of a group and a role")
        return [(group.strip(), role.strip()) for group, _, role in pairs]

    @model_validator(mode="after")
    def _whole(self) -> SignInSettings:
        missing = [name for name in NEEDED if getattr(self, name) is None]
        if missing and len(missing) < len(NEEDED):
            name = missing[0]
            raise ValueError(
                f"RETURNS_{name.upper()}: missing. Sign-in by OpenID Connect needs {NEEDED[name]}; "
                "or unset the other RETURNS_OIDC_ settings"
            )
        if missing and self.oidc_roles:
            raise ValueError("RETURNS_OIDC_ROLES: needs a provider. Set RETURNS_OIDC_ISSUER, or unset it")
        if missing and not self.password_sign_in:
            raise ValueError("RETURNS_PASSWORD_SIGN_IN: without a provider nobody could sign in. Set it to 1")
        return self


def is_private(url: str) -> bool:
    """Return whether nobody on the way reads what goes to this address: TLS, or this machine itself."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in LOOPBACK
