"""Which URLs and addresses may be called: the public internet by https, and nothing that only looks like it."""

from __future__ import annotations

import pytest

from returns_service.domain.public_addresses import (
    LONGEST_URL,
    NotAllowed,
    Target,
    is_public,
    require_public,
    target_of,
)

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.1", "172.15.255.255", "172.32.0.1",
    "192.167.255.255", "192.169.0.1", "198.17.255.255", "198.20.0.1", "223.255.255.255", "11.0.0.1", "126.0.0.1",
    "2606:4700:4700::1111", "2a00:1450:4001::1", "64:ff9b::808:808",
]  # fmt: skip
NOT_PUBLIC = [
    "0.0.0.0",  # noqa: S104 - as an address to call
    "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.0.1",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.1",
    "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255",
    "::", "::1", "::7f00:1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd12:3456::1", "ff02::1", "100::1",
    "2001:db8::1", "3fff::1", "5f00::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8",
    "2002:7f00:1::", "2002:808:808::", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808",
]  # fmt: skip
REFUSED = {
    "http": "http://shop.test/",
    "another scheme": "ftp://shop.test/",
    "no scheme": "shop.test/hook",
    "a file": "file:///etc/passwd",
    "no host": "https:///hook",
    "an empty host": "https://:443/hook",
    "a user": "https://user@shop.test/",
    "a user and a password": "https://user:password@shop.test/",
    "an empty user": "https://@shop.test/",
    "a host disguised as a user": "https://shop.test@127.0.0.1/",
    "a backslash": "https://shop.test\\@127.0.0.1/",
    "a line's end": "https://shop.test/\r\nHost: 127.0.0.1",
    "a tab in the host": "https://shop\t.test/",
    "a space": "https://shop.test/a b",
    "a NUL": "https://shop.test/\0",
    "a fragment": "https://shop.test/#x",
    "a port that is none": "https://shop.test:http/",
    "port 0": "https://shop.test:0/",
    "port 65536": "https://shop.test:65536/",
    "half a bracket": "https://[::1/",
    "brackets around nothing": "https://[]/",
    "a zone": "https://[fe80::1%25eth0]/",
    "letters outside of ASCII": "https://shöp.test/",
    "a host that begins with a dash": "https://-shop.test/",
    "too long": "https://shop.test/" + "x" * LONGEST_URL,
    "nothing": "",
}


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_public_internet_is_public(address: str) -> None:
    assert is_public(address)
    require_public("shop.test", [address])


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_of_any_other_kind_is_not(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(NotAllowed, match=r"shop\.test"):
        require_public("shop.test", [address])


def test_one_private_address_among_public_ones_is_a_trap() -> None:
    with pytest.raises(NotAllowed):
        require_public("shop.test", ["93.184.216.34", "10.0.0.1"])
    with pytest.raises(NotAllowed):
        require_public("shop.test", [])


@pytest.mark.parametrize("name", REFUSED)
def test_a_url_that_could_mislead_is_refused(name: str) -> None:
    with pytest.raises(NotAllowed):
        target_of(REFUSED[name], allow_private=False)


@pytest.mark.parametrize("name", [name for name in REFUSED if name != "http"])
def test_development_allows_plain_http_and_nothing_else(name: str) -> None:
    assert target_of("http://127.0.0.1:9000/hook", allow_private=True).port == 9000
    with pytest.raises(NotAllowed):
        target_of(REFUSED[name], allow_private=True)


@pytest.mark.parametrize(
    "url, target, header",
    [
        ("https://shop.test", Target("https", "shop.test", 443, "/"), "shop.test"),
        ("HTTPS://Shop.Test.:443/a?b=c&d", Target("https", "shop.test", 443, "/a?b=c&d"), "shop.test"),
        ("https://shop.test:8443/%C3%B6", Target("https", "shop.test", 8443, "/%C3%B6"), "shop.test:8443"),
        ("https://xn--shp-sna.test/", Target("https", "xn--shp-sna.test", 443, "/"), "xn--shp-sna.test"),
        ("https://[2606:4700::1111]:1/", Target("https", "2606:4700::1111", 1, "/"), "[2606:4700::1111]:1"),
        ("https://2130706433/", Target("https", "2130706433", 443, "/"), "2130706433"),
    ],
)
def test_a_url_is_read_once_for_the_check_and_the_call(url: str, target: Target, header: str) -> None:
    assert target_of(url, allow_private=False) == target
    assert target.host_header == header
