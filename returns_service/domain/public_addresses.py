"""Which addresses that a caller names may be called: https, no password in the URL, nothing but the public internet.

One reading of the URL serves the check and the call, so that two parsers can't disagree about the host. Ranges: IANA's
special-purpose registries (RFC 6890 and its updates).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

LONGEST_URL = 2000
HOST = re.compile(r"[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?")
# ASCII without spaces, controls and the characters that no URL may hold unescaped (RFC 3986, section 2).
WRITTEN = re.compile(r"[!$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+")
NOT_PUBLIC_4 = [
    IPv4Network(net)
    for net in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' own
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local: clouds keep their machines' secrets here
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
]
PUBLIC_6 = IPv6Network("2000::/3")  # all of IPv6's global unicast; loopback, mapped, local and multicast are outside
NOT_PUBLIC_6 = [
    IPv6Network(net)
    for net in (
        "2001::/23",  # protocols' own: Teredo wraps an IPv4 address
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4 wraps an IPv4 address
        "3fff::/20",  # documentation
    )
]
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address that is really called


class NotAllowed(ValueError):
    """The URL may not be called; the message is a sentence that says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads: all that a call is made from."""

    scheme: str
    host: str  # a name in lower case, or an address without brackets
    port: int
    path: str  # with the query

    @property
    def host_header(self) -> str:
        """The host as HTTP's `Host` names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


def target_of(url: str, *, allow_private: bool) -> Target:
    """Return where the URL leads. `allow_private`: plain http is allowed too. Raises NotAllowed."""
    if len(url) > LONGEST_URL or not WRITTEN.fullmatch(url):
        raise NotAllowed(f"A URL of at most {LONGEST_URL} characters, all else than plain ASCII percent-encoded.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise NotAllowed("The URL can't be read.") from None
    if parts.scheme not in (("https", "http") if allow_private else ("https",)):
        raise NotAllowed("The URL must begin with https://.")
    if "@" in parts.netloc:
        raise NotAllowed("The URL must hold no user name and no password.")
    host = (parts.hostname or "").removesuffix(".")
    if not (HOST.fullmatch(host) or (":" in host and "%" not in host)) or port == 0:
        raise NotAllowed("The URL names no host.")
    if ":" in host:
        _address(host)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path)


def require_public(host: str, addresses: list[str]) -> None:
    """Raise NotAllowed unless there are addresses, and each of them is public: one in a private network is a trap."""
    if not addresses:
        raise NotAllowed(f"The host {host} has no address.")
    if not all(is_public(address) for address in addresses):
        raise NotAllowed(f"The host {host} has an address that is not on the public internet.")


def is_public(address: str) -> bool:
    """Return whether an address is one of the public internet's. Raises NotAllowed where it is none at all."""
    ip = _address(address)
    if isinstance(ip, IPv4Address):
        return not any(ip in net for net in NOT_PUBLIC_4)
    if ip in NAT64:
        return is_public(str(IPv4Address(int(ip) & 0xFFFFFFFF)))
    return ip.scope_id is None and ip in PUBLIC_6 and not any(ip in net for net in NOT_PUBLIC_6)


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError:
        raise NotAllowed("The URL names no host.") from None
