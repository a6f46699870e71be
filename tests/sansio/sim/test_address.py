"""The url of a webhook: its parts, and what is refused (telegram-server.md, 3.3 and 3.4)."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.sim.address import Address, problem_of, read_url

RESERVED = [  # the first and the last address of each block
    ("0.0.0.0", "0.255.255.255"),
    ("10.0.0.0", "10.255.255.255"),
    ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("169.254.0.0", "169.254.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.0.0.0", "192.0.0.255"),
    ("192.0.2.0", "192.0.2.255"),
    ("192.88.99.0", "192.88.99.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("198.18.0.0", "198.19.255.255"),
    ("198.51.100.0", "198.51.100.255"),
    ("203.0.113.0", "203.0.113.255"),
    ("224.0.0.0", "255.255.255.255"),
]


def at(url: str) -> Address:
    address = read_url(url)
    assert address is not None
    return address


# Urls (3.4)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://example.org/hook", Address(True, "example.org", 443, "/hook")),
        ("http://example.org/hook", Address(False, "example.org", 80, "/hook")),
        ("HTTPS://Example.ORG", Address(True, "example.org", 443, "/")),
        ("example.org", Address(True, "example.org", 443, "/")),
        ("example.org:8443/x", Address(True, "example.org", 8443, "/x")),
        ("https://example.org:0443/", Address(True, "example.org", 443, "/")),
        ("https://example.org?a=b", Address(True, "example.org", 443, "/?a=b")),
        ("https://example.org#part", Address(True, "example.org", 443, "/#part")),
        ("https://example.org/a?b#c", Address(True, "example.org", 443, "/a?b#c")),
        ("https://example.org/a b\x01ä", Address(True, "example.org", 443, "/a%20b%01ä")),
        ("https://user:p%40ss@example.org/", Address(True, "example.org", 443, "/", "user:p%40ss")),
        ("https://a@b@example.org/", Address(True, "example.org", 443, "/", "a@b")),
        ("https://@example.org/", Address(True, "example.org", 443, "/")),
        ("https://B\u00fccher.de/", Address(True, "xn--bcher-kva.de", 443, "/")),
        ("https://93.184.216.34/", Address(True, "93.184.216.34", 443, "/")),
        ("http://[2001:DB8::1]:8080/x", Address(False, "[2001:db8::1]", 8_080, "/x")),
        ("http://a_b-c.d!$,~*'();&+=%41/", Address(False, "a_b-c.d!$,~*'();&+=%41", 80, "/")),
    ],
)
def test_a_url_has_these_parts(url: str, address: Address) -> None:
    """https where no scheme is given; all after the authority is the target, its bytes up to 0x20 quoted (3.4)."""
    assert read_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/hook",
        "https://",
        "https:///hook",
        "ftp://example.org/",
        "://example.org/",
        "https://example.org:",
        "https://example.org:0/",
        "https://example.org:65536/",
        "https://example.org:123456/",
        "https://example.org:x/",
        "https://exa mple.org/",
        "https://exa<mple.org/",
        "https://exa%4mple.org/",
        "https://./",
        "https://[::1",
        "https://[example.org]/",
        "https://a:b:c/",
        "https://" + "\u00fc" * 300 + "/",
    ],
)
def test_a_url_that_is_none_is_invalid(url: str) -> None:
    """`Bad Request: invalid webhook URL specified` (3.3)."""
    assert read_url(url) is None


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://example.org/", "example.org"),
        ("https://example.org:80/", "example.org:80"),
        ("https://example.org:8443/", "example.org:8443"),
        ("http://example.org/", "example.org"),
        ("http://example.org:443/", "example.org:443"),
        ("http://[::1]:8080/", "[::1]:8080"),
    ],
)
def test_the_host_header_has_the_port_unless_it_is_the_schemes_own(url: str, host: str) -> None:
    """443 for https, 80 for http (4.2)."""
    assert at(url).host_header == host


def test_user_and_password_become_an_authorization() -> None:
    """Basic, of the bytes as they stand in the url (3.4)."""
    assert at("https://user:p%40ss@example.org/").authorization == "Basic dXNlcjpwJTQwc3M="
    assert at("https://example.org/").authorization is None
    assert "p%40ss" not in repr(at("https://user:p%40ss@example.org/"))


# What is refused (3.3)


@pytest.mark.parametrize(
    ("url", "ip", "problem"),
    [
        ("https://example.org/", "", None),
        ("https://example.org:80/", "", None),
        ("https://example.org:88/", "", None),
        ("https://example.org:8443/", "", None),
        ("https://example.org:8080/", "", "Webhook can be set up only on ports 80, 88, 443 or 8443"),
        ("http://example.org/", "", "An HTTPS URL must be provided for webhook"),
        ("http://example.org:8080/", "", "An HTTPS URL must be provided for webhook"),
        ("https://example.org/", "93.184.216.34", None),
        ("https://example.org/", "null", "Invalid IP address specified"),
        ("https://example.org/", "300.1.1.1", "Invalid IP address specified"),
        ("https://example.org/", "2001:db8::1", "IPv6-only addresses are not allowed"),
        ("https://[2001:db8::1]/", "", "IPv6-only addresses are not allowed"),
        ("https://example.org/", "10.1.2.3", "IP address 10.1.2.3 is reserved"),
        ("https://127.0.0.1/", "", "IP address 127.0.0.1 is reserved"),
        ("https://127.0.0.1/", "93.184.216.34", None),
    ],
)
def test_the_cloud_refuses_addresses(url: str, ip: str, problem: str | None) -> None:
    """The table of 3.3, not in local mode."""
    assert problem_of(at(url), ip, local=False) == problem


@pytest.mark.parametrize(
    ("url", "ip", "problem"),
    [
        ("http://127.0.0.1:8080/", "", None),
        ("https://[::1]:1/", "", None),
        ("http://example.org/", "::1", None),
        ("http://example.org/", "null", "Invalid IP address specified"),
    ],
)
def test_a_local_server_takes_any_port_scheme_and_address(url: str, ip: str, problem: str | None) -> None:
    """But no text that is no address (3.3)."""
    assert problem_of(at(url), ip, local=True) == problem


@pytest.mark.parametrize(("first", "last"), RESERVED)
def test_a_block_is_reserved_from_its_first_to_its_last_address(first: str, last: str) -> None:
    """The list of 3.3, and not the addresses beside it, unless they are the next block's."""
    for inside in (first, last):
        assert problem_of(at("https://a/"), inside, local=False) == f"IP address {inside} is reserved"
    others = {edge for block in RESERVED for edge in block}
    for outside in (int(ip_address(first)) - 1, int(ip_address(last)) + 1):
        if 0 < outside < 2**32 and str(ip_address(outside)) not in others:
            assert problem_of(at("https://a/"), str(ip_address(outside)), local=False) is None


@given(url=st.text() | st.from_regex(r"(https?://)?([a-z:@]*@)?[a-z.\[\]:%-]{0,9}(:[0-9]{0,6})?([/?#].{0,9})?"))
def test_any_text_is_read_or_invalid(url: str) -> None:
    """Nothing raises, and what is read can stand in a request line and in headers."""
    address = read_url(url)
    if address is not None:
        assert address.target.startswith("/")
        assert 1 <= address.port <= 65_535
        assert not any(character <= " " for character in address.target + address.host_header)
        problem_of(address, url, local=False)
