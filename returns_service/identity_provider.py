"""The only way to the OpenID Connect provider: what it says of itself, a code for an identity, the end of its session.

The authorization code flow with PKCE (https://openid.net/specs/openid-connect-core-1_0.html#CodeFlowAuth). Tokens are
verified by joserfc, which is imported with the first one: the extra `oidc` brings it. Every call is bounded in time and
size, and none is made while a transaction is open.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal, TypeGuard
from urllib.parse import quote_plus

import httpx

from returns_service.domain.identity import LONGEST_SUBJECT, Identity
from returns_service.domain.vocabulary import Role
from returns_service.settings import Settings, SettingsError
from returns_service.sign_in_settings import is_private
from returns_service.store.clock import elapsed_seconds

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

CALLBACK_PATH: Final = "/sign-in/provider/callback"
CALL_SECONDS: Final = 10.0  # one call, from its beginning to the last byte of its answer
LARGEST_BYTES: Final = 512 * 1024
MOST_CALLS: Final = 10  # under way at once
KEPT_SECONDS: Final = 3600.0  # how long what the provider says of itself is believed
PAUSE_SECONDS: Final = 5.0  # after a vain look, in which nobody else looks
LEEWAY_SECONDS: Final = 60  # by which the provider's clock and ours may differ
LONGEST_REASON: Final = 300  # characters of what a log line says of the provider's answer
LONGEST_HEADER: Final = 8192  # bytes of a token's header: some bring a chain of certificates along
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
PUBLIC_KEYS: Final = ("RSA", "EC")  # a key of another kind verifies none of these
MISSING: Final = (
    "RETURNS_OIDC_ISSUER: the package that verifies its tokens is missing. Run: pip install 'returns-service[oidc]'"
)
Fault = Literal["away", "code_refused", "misconfigured", "token_wrong"]


class ProviderError(Exception):
    """The provider let nobody in; `fault` says in which way, the message why, for the log."""

    def __init__(self, fault: Fault, why: str) -> None:
        super().__init__(why[:LONGEST_REASON])
        self.fault: Fault = fault


class IdentityProvider:
    """The provider that the settings name."""

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str,
        public_url: str,
        *,
        label: str = "",
        scope: str = "openid email profile",
        roles_claim: str = "groups",
        roles: tuple[tuple[str, Role], ...] = (),
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.issuer, self.label, self.roles = issuer, label, roles
        self.redirect_uri = f"{public_url}{CALLBACK_PATH}"
        self._client_id, self._client_secret, self._scope = client_id, client_secret, scope
        self._roles_claim = roles_claim
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._slots = asyncio.Semaphore(MOST_CALLS)
        self._looking = asyncio.Lock()
        self._metadata: Mapping[str, Any] | None = None
        self._metadata_at = self._failed_at = float("-inf")  # seconds that never jump
        self._failure = ProviderError("away", "")
        self._keys: KeySet | None = None
        self._keys_at = float("-inf")

    async def authorization_url(self, *, state: str, nonce: str, verifier: str) -> str:
        """Return where the browser goes to sign in. Raises ProviderError."""
        known = await self._about_itself()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        words = {
            "response_type": "code", "client_id": self._client_id, "redirect_uri": self.redirect_uri,
            "scope": self._scope, "state": state, "nonce": nonce,
            "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        return str(httpx.URL(known["authorization_endpoint"]).copy_merge_params(words))

    async def identify(self, code: str, *, nonce: str, verifier: str, issuer: str | None) -> Identity:
        """Return who signed in, for the code they came back with. `issuer`: the one the callback names.

        Raises ProviderError.
        """
        known = await self._about_itself()
        if issuer != self.issuer and (issuer or known.get("authorization_response_iss_parameter_supported")):
            raise ProviderError("token_wrong", f"the callback names another issuer: {issuer!r}")
        tokens = await self._redeem(known, code, verifier)
        id_token = str(tokens.get("id_token", ""))
        claims = await self._verify(id_token, nonce)
        if "email" not in claims or "email_verified" not in claims or find_claim(claims, self._roles_claim) is None:
            claims = {**await self._userinfo(known, tokens, claims["sub"]), **claims}
        return self._identity_in(claims, id_token)

    async def end_session_url(self, id_token: str = "") -> str | None:
        """Return where the browser ends the provider's own session; None where it has no such place or is away.

        `id_token`, of that session, where the browser kept it: some providers end none without it.
        https://openid.net/specs/openid-connect-rpinitiated-1_0.html
        """
        try:
            endpoint = (await self._about_itself()).get("end_session_endpoint")
        except ProviderError:
            return None
        if not is_endpoint(endpoint):
            return None
        words = {"client_id": self._client_id} | ({"id_token_hint": id_token} if id_token else {})
        return str(httpx.URL(endpoint).copy_merge_params(words))

    async def check(self) -> int:
        """Read what the provider says of itself and its keys; return how many keys. Raises ProviderError."""
        return len(list(await self._read_keys(await self._read_metadata())))

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    # --- what the provider says of itself ----------------------------------------------------------------------------

    async def _about_itself(self) -> Mapping[str, Any]:
        """Return what the provider says of itself: as kept, else read; while it is away the kept one goes on."""
        async with self._looking:
            now = elapsed_seconds()
            if self._metadata is not None and now - self._metadata_at < KEPT_SECONDS:
                return self._metadata
            if now - self._failed_at >= PAUSE_SECONDS:
                try:
                    self._metadata, self._metadata_at = await self._read_metadata(), now
                    return self._metadata
                except ProviderError as error:
                    self._failed_at, self._failure = elapsed_seconds(), error
            if self._metadata is None:
                raise ProviderError(self._failure.fault, str(self._failure))
            return self._metadata

    async def _read_metadata(self) -> Mapping[str, Any]:
        url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        status, known = await self._ask("GET", url)
        if status != 200:
            raise ProviderError("away" if status >= 500 else "misconfigured", f"{url} answers {status}")
        if known.get("issuer") != self.issuer:
            raise ProviderError("misconfigured", f"the provider calls itself {known.get('issuer')!r}")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not is_endpoint(known.get(name)):
                raise ProviderError("misconfigured", f"{url} names no {name} by https")
        return known

    async def _read_keys(self, known: Mapping[str, Any]) -> KeySet:
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        status, document = await self._ask("GET", known["jwks_uri"])
        if status != 200 or not isinstance(document.get("keys"), list):
            raise ProviderError("away", f"{known['jwks_uri']} answers {status}, and no keys")
        keys = [key for key in document["keys"] if isinstance(key, dict) and key.get("kty") in PUBLIC_KEYS]
        try:
            return KeySet.import_key_set({"keys": keys})
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise ProviderError(
                "misconfigured", f"{known['jwks_uri']} holds no key that can be used: {error}"
            ) from None

    # --- from a code to an identity ----------------------------------------------------------------------------------

    async def _redeem(self, known: Mapping[str, Any], code: str, verifier: str) -> Mapping[str, Any]:
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri,
            "code_verifier": verifier,
        }  # fmt: skip
        auth: httpx.BasicAuth | None = None
        methods = known.get("token_endpoint_auth_methods_supported")
        if not isinstance(methods, list) or "client_secret_basic" in methods:
            # Both are written as in a form first: https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1
            auth = httpx.BasicAuth(quote_plus(self._client_id), quote_plus(self._client_secret))
        else:
            form |= {"client_id": self._client_id, "client_secret": self._client_secret}
        status, tokens = await self._ask("POST", known["token_endpoint"], data=form, auth=auth)
        if status == 200:
            return tokens
        why = f"the token endpoint answers {status}, {tokens.get('error')!r}"
        if status >= 500 or status == 429:
            raise ProviderError("away", why)
        raise ProviderError("code_refused" if tokens.get("error") == "invalid_grant" else "misconfigured", why)

    async def _verify(self, token: str, nonce: str) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.errors import InvalidKeyIdError, JoseError
        from joserfc.jws import JWSRegistry

        known = await self._about_itself()
        if self._keys is None or elapsed_seconds() - self._keys_at > KEPT_SECONDS:
            self._keys, self._keys_at = await self._read_keys(known), elapsed_seconds()
        registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)  # some add headers of their own
        registry.max_header_length = LONGEST_HEADER
        claims = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self._client_id},
            nonce={"essential": True, "value": nonce},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
        )
        try:
            try:
                read = jwt.decode(token, self._keys, registry=registry)
            except InvalidKeyIdError:  # the provider may have changed its keys since they were read
                self._keys, self._keys_at = await self._read_keys(known), elapsed_seconds()
                read = jwt.decode(token, self._keys, registry=registry)
            claims.validate(read.claims)
        except (JoseError, ValueError, TypeError) as error:
            raise ProviderError("token_wrong", f"{type(error).__name__}: {error}") from None
        # A token for several parties names the one it was given to; then that has to be us.
        several = isinstance(read.claims["aud"], list) and len(read.claims["aud"]) > 1
        if read.claims.get("azp", None if several else self._client_id) != self._client_id:
            raise ProviderError("token_wrong", f"the token was given to {read.claims.get('azp')!r}")
        if not read.claims["sub"].isprintable() or len(read.claims["sub"]) > LONGEST_SUBJECT:
            raise ProviderError("token_wrong", "the token's subject is none")
        return read.claims

    async def _userinfo(self, known: Mapping[str, Any], tokens: Mapping[str, Any], subject: str) -> Mapping[str, Any]:
        """Return the claims that the provider keeps out of its tokens; none where it has no such place."""
        endpoint, access = known.get("userinfo_endpoint"), tokens.get("access_token")
        if not is_endpoint(endpoint) or not isinstance(access, str):
            return {}
        status, found = await self._ask("GET", endpoint, headers={"Authorization": f"Bearer {access}"})
        if status != 200:
            raise ProviderError("away", f"the userinfo endpoint answers {status}")
        if found.get("sub") != subject:
            raise ProviderError("token_wrong", "the userinfo endpoint speaks of another person")
        return found

    def _identity_in(self, claims: Mapping[str, Any], id_token: str) -> Identity:
        email, name, groups = claims.get("email"), claims.get("name"), find_claim(claims, self._roles_claim)
        listed = groups if isinstance(groups, list) else [groups]
        return Identity(
            self.issuer,
            claims["sub"],
            email=email if isinstance(email, str) else None,
            email_verified=claims.get("email_verified") in (True, "true"),  # some write it as a text
            name=name if isinstance(name, str) else None,
            groups=tuple(group for group in listed if isinstance(group, str)),
            id_token=id_token,
        )

    # --- the wire ----------------------------------------------------------------------------------------------------

    async def _ask(self, method: str, url: str, **options: Any) -> tuple[int, dict[str, Any]]:
        """Return an answer's status and its JSON object, empty where it holds none. Raises ProviderError `away`."""
        if self._client is None:
            self._client = httpx.AsyncClient(transport=self._transport, timeout=CALL_SECONDS)
        headers = {"Accept": "application/json", **options.pop("headers", {})}
        body = bytearray()
        try:
            async with (
                asyncio.timeout(CALL_SECONDS),
                self._slots,
                self._client.stream(method, url, headers=headers, **options) as answer,
            ):
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > LARGEST_BYTES:
                        raise ProviderError("away", f"{url} answers more than {LARGEST_BYTES} bytes")
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise ProviderError("away", f"{url}: {type(error).__name__}") from None
        try:
            read = json.loads(body)
        except (ValueError, RecursionError):
            read = None
        return answer.status_code, read if isinstance(read, dict) else {}


def is_endpoint(url: object) -> TypeGuard[str]:
    """Return whether this is an address that may be called, and that nobody on the way reads."""
    try:
        return isinstance(url, str) and bool(httpx.URL(url).host) and is_private(url)
    except (httpx.InvalidURL, ValueError):
        return False


def find_claim(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim by its name, which may hold dots, or by the way that its dots lead; None where it is missing."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def provider_of(settings: Settings) -> IdentityProvider | None:
    """Return the provider that staff sign in with; None where none is set. Raises SettingsError."""
    issuer, client_id, secret = settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret
    if issuer is None or client_id is None or secret is None:
        return None
    if settings.public_url is None:
        raise SettingsError(
            "RETURNS_PUBLIC_URL: missing. The sign-in provider sends people back to it: "
            "RETURNS_PUBLIC_URL=https://returns.example.com"
        )
    if find_spec("joserfc") is None:
        raise SettingsError(MISSING)
    return IdentityProvider(
        issuer, client_id, secret.get_secret_value(), settings.public_url, label=settings.oidc_label,
        scope=settings.oidc_scope, roles_claim=settings.oidc_roles_claim, roles=settings.oidc_roles,
    )  # fmt: skip
