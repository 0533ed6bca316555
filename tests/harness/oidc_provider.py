"""An OpenID Connect provider in this process: its own keys, made at run time, and every way to be wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from returns_service.domain.vocabulary import Role
from returns_service.identity_provider import IdentityProvider

ISSUER = "https://login.shop.test"
CLIENT_ID, CLIENT_SECRET = "returns", "a secret, of the provider's"
PUBLIC_URL = "http://shop.test"


@cache
def new_key(kid: str) -> RSAKey | ECKey:
    """Return a key of its own for each name: making one takes a while. `curve…`: an elliptic one."""
    if kid.startswith("curve"):
        return ECKey.generate_key("P-256", {"kid": kid, "use": "sig"})
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


@dataclass
class FakeProvider:
    """What a provider does, seen from outside. Tests change its fields to make it go wrong."""

    claims: dict[str, Any] = field(default_factory=lambda: {"sub": "u-1", "email": "mara@shop.test",
                                                            "email_verified": True, "groups": []})  # fmt: skip
    metadata: dict[str, Any] = field(default_factory=dict)  # beside what it says anyway
    userinfo: dict[str, Any] | None = None
    signing: str = "k1"  # the key that signs
    published: list[str] = field(default_factory=lambda: ["k1"])
    algorithm: str = "RS256"  # `none` and `HS256` are attacks
    broken: httpx.Response | httpx.TransportError | None = None  # instead of every answer
    calls: list[str] = field(default_factory=list)
    asked: dict[str, dict[str, str]] = field(default_factory=dict)  # by code, what it was asked with
    used: set[str] = field(default_factory=set)

    def client(self, *, roles: tuple[tuple[str, Role], ...] = (), **more: Any) -> IdentityProvider:
        """Return the service's way to this provider."""
        transport = httpx.MockTransport(self.answer)
        return IdentityProvider(
            ISSUER, CLIENT_ID, CLIENT_SECRET, PUBLIC_URL, label="Sign in with Nordwind", roles=roles,
            transport=transport, **more,
        )  # fmt: skip

    def sign_in(self, address: str) -> str:
        """Be the browser that goes to the provider, and the person who signs in there; return the way back."""
        parts = urlsplit(address)
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == self._about_itself()["authorization_endpoint"]
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert (asked["response_type"], asked["client_id"], asked["code_challenge_method"]) == (
            "code", CLIENT_ID, "S256",
        )  # fmt: skip
        assert asked["redirect_uri"] == f"{PUBLIC_URL}/sign-in/provider/callback"
        code = f"code-{len(self.asked) + 1}"
        self.asked[code] = asked
        return f"/sign-in/provider/callback?{urlencode({'code': code, 'state': asked['state']})}"

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer the service."""
        self.calls.append(request.url.path)
        if isinstance(self.broken, httpx.TransportError):
            raise self.broken
        if self.broken is not None:
            return self.broken
        if request.url.path == "/.well-known/openid-configuration":
            return httpx.Response(200, json=self._about_itself())
        if request.url.path == "/keys":
            keys = [new_key(kid).as_dict(private=False) for kid in self.published]
            return httpx.Response(200, json={"keys": [*keys, {"kty": "oct", "k": "c2VjcmV0", "kid": "k9"}]})
        if request.url.path == "/userinfo":
            assert request.headers["authorization"] == "Bearer an access token"
            return httpx.Response(200, json=self.userinfo or {})
        assert request.url.path == "/token", request.url
        return self._tokens(request)

    def _about_itself(self) -> dict[str, Any]:
        known = {
            "issuer": ISSUER, "authorization_endpoint": f"{ISSUER}/authorize", "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys",
        }  # fmt: skip
        return (
            known | ({"userinfo_endpoint": f"{ISSUER}/userinfo"} if self.userinfo is not None else {}) | self.metadata
        )

    def _tokens(self, request: httpx.Request) -> httpx.Response:
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        if "client_secret" in form:
            caller = (form["client_id"], form["client_secret"])
        else:
            written = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode().partition(":")
            caller = (unquote_plus(written[0]), unquote_plus(written[2]))
        if caller != (CLIENT_ID, CLIENT_SECRET):
            return httpx.Response(401, json={"error": "invalid_client"})
        asked, code = self.asked.get(form["code"]), form["code"]
        if asked is None or code in self.used or form["redirect_uri"] != asked["redirect_uri"]:
            return httpx.Response(400, json={"error": "invalid_grant"})
        self.used.add(code)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        assert challenge.decode() == asked["code_challenge"], "PKCE"
        return httpx.Response(200, json={"id_token": self.token(asked["nonce"]), "access_token": "an access token"})

    def token(self, nonce: str) -> str:
        """Return an id token, signed as `algorithm` says."""
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": CLIENT_ID, "nonce": nonce, "iat": now, "exp": now + 300} | self.claims
        claims = {name: value for name, value in claims.items() if value is not ...}
        header = {"alg": self.algorithm, "kid": self.signing}
        if self.algorithm == "none":
            return f"{_part(header)}.{_part(claims)}."
        if self.algorithm == "HS256":  # the public key, which everybody knows, as the secret
            signed = f"{_part(header)}.{_part(claims)}"
            mark = hmac.digest(new_key(self.signing).as_pem(private=False), signed.encode(), "sha256")
            return f"{signed}.{base64.urlsafe_b64encode(mark).rstrip(b'=').decode()}"
        return jwt.encode(header, claims, new_key(self.signing), algorithms=[self.algorithm])


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
