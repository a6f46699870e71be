"""The url of a webhook: its parts as the server reads them, and what it refuses (telegram-server.md, 3.3 and 3.4).

Names are not resolved here: only a host that is written as an IP address is checked as one.
"""

from __future__ import annotations

import re
from base64 import b64encode
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from attrs import field, frozen

PORTS: Final = (80, 88, 443, 8443)

_RESERVED: Final = tuple(
    ip_network(block)
    for block in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/3"),
    )
)
_URL: Final = re.compile(
    r"(?:(?P<scheme>[^:/?#@]*)://)?(?:(?P<user>[^/?#]*)@)?"
    r"(?P<host>\[[^\]/?#]+\]|[^:/?#\[\]]+)(?::0*(?P<port>[0-9]{1,5}))?(?P<target>[/?#].*)?",
    re.DOTALL,
)
_NAME: Final = re.compile(r"(?:[a-z0-9._!$,~*'();&+=-]|%[0-9a-f]{2})+")


@frozen
class Address:
    """Where a webhook is. user: what stands before the `@`. target: what the request line carries."""

    tls: bool
    host: str
    port: int
    target: str
    user: str | None = field(default=None, repr=lambda user: "None" if user is None else "***")

    @property
    def host_header(self) -> str:
        """The Host header's value: with the port, unless it is the scheme's own (4.2)."""
        return self.host if self.port == (443 if self.tls else 80) else f"{self.host}:{self.port}"

    @property
    def ip(self) -> str | None:
        """The host, if it is written as an IP address."""
        where = _ip(self.host)
        return None if where is None else str(where)

    @property
    def authorization(self) -> str | None:
        """The Authorization header's value, if the url has user and password."""
        return None if self.user is None else f"Basic {b64encode(self.user.encode('utf-8')).decode()}"


def read_url(url: str) -> Address | None:
    """The parts of a webhook's url; None where the server says that it is invalid."""
    match = _URL.fullmatch(url)
    if match is None:
        return None
    scheme = "https" if match["scheme"] is None else match["scheme"].lower()
    tls = scheme == "https"
    port = int(match["port"]) if match["port"] else 443 if tls else 80
    host = _ascii(match["host"])
    if scheme not in ("http", "https") or not host or not 1 <= port <= 65_535:
        return None
    target = match["target"] or "/"
    target = target if target.startswith("/") else f"/{target}"
    return Address(tls, host, port, re.sub(r"[^\x21-\U0010ffff]", _quoted, target), match["user"] or None)


def problem_of(address: Address, ip: str, *, local: bool) -> str | None:
    """Why a webhook can't be at an address, in the words of 3.3; `ip` is the parameter ip_address, if it was given."""
    if not local and not address.tls:
        return "An HTTPS URL must be provided for webhook"
    if not local and address.port not in PORTS:
        return "Webhook can be set up only on ports 80, 88, 443 or 8443"
    where = _ip(ip or address.host)
    if where is None:
        return "Invalid IP address specified" if ip else None
    if local:
        return None
    if isinstance(where, IPv6Address):
        return "IPv6-only addresses are not allowed"
    reserved = any(where in block for block in _RESERVED)
    return f"IP address {where} is reserved" if reserved else None


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _ascii(host: str) -> str | None:
    """A host's name in lower case, punycode where it is international; None if it can't be one."""
    if host.startswith("["):
        return host.lower() if isinstance(_ip(host), IPv6Address) else None
    try:
        name = host.lower().encode("idna").decode("ascii") if not host.isascii() else host.lower()
    except UnicodeError:
        return None
    return name if _NAME.fullmatch(name) and name != "." else None


def _quoted(match: re.Match[str]) -> str:
    return f"%{ord(match[0]):02X}"
