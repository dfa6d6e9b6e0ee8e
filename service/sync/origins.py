"""Addresses of servers, read strictly and judged before anything is sent to them."""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

from service.errors import Usage
from service.issues import Issue

PORTS: Final = {"http": 80, "https": 443}

_FIX: Final = "name the server's base as http://host/path or https://host/path, as in https://hapi.fhir.org/baseR4"
_PLACE: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(:[0-9]*)?")
_HOST: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?")
# What Python's IDNA (2003) turns into another name than today's IDNA (2008) does: two readers would see two servers.
# https://www.unicode.org/reports/tr46/#Deviations
_DEVIATIONS: Final = frozenset("ßς\u200c\u200d")
# Where clouds hand out credentials to whoever asks; link-local 169.254.169.254 is refused with its kind.
_METADATA: Final = frozenset(
    map(ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"))
)
_NAT64: Final = IPv6Network("64:ff9b::/96")


class Origin(NamedTuple):
    """Scheme, host and port: what a secret is bound to. https://www.rfc-editor.org/rfc/rfc6454#section-4"""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == PORTS[self.scheme] else f":{self.port}")


def base_url(text: str) -> str:
    """The normalised service base: lower-case host, no default port, no slash at the end.

    Raises Usage (sync-address) for any other scheme than http and https, for a user or password in the address, for a query
    or fragment and for what is no address. The address itself is never shown: it may hold a password.
    """
    parts = _split(text)
    if "?" in text or "#" in text:
        raise _bad("the server's address has a query or a fragment")
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~").rstrip("/")
    return f"{_origin(parts)}{path}"


def origin(url: str) -> Origin:
    """The origin of an absolute http or https URL; raises Usage (sync-address) as `base_url` does."""
    return _origin(_split(url))


def same_origin(a: str, b: str) -> bool:
    """Whether two URLs have one origin; what cannot be read has none."""
    try:
        return origin(a) == origin(b)
    except Usage:
        return False


def is_below(url: str, base: str) -> bool:
    """Whether a URL is the service base itself, with or without a query, or lies under it."""
    # What stands for a letter beyond ASCII in a host is a matter of opinion, and the opinion of who connects is what counts.
    if not same_origin(url, base) or not _split(url).netloc.isascii():
        return False
    path, root = _split(url).path, _split(base).path.rstrip("/")
    return path.rstrip("/") == root or path.startswith(f"{root}/")


def check_host(url: str, *, allow_local: bool) -> None:
    """Raises Usage (sync-address) for a URL whose host is a number that must not be connected to; looks no name up."""
    found = _literal(origin(url).host)
    if found:
        check_address(found, allow_local=allow_local)


def check_address(ip: str, *, allow_local: bool) -> None:
    """Raises Usage (sync-address) for an IP address that no FHIR server has: link-local, multicast, unspecified, reserved,
    a cloud's metadata service, and any IPv6 address that carries one of these. `allow_local`: loopback and private
    networks may be, as for a user who names the server; not for the client of a service, who would reach its neighbours.
    """
    for address in _carried(ip_address(ip)):
        kind = _forbidden(address)
        if kind:
            raise _bad(f"the server's address {address} is {kind}: no FHIR server is there")
        if not allow_local and _is_local(address):
            raise _bad(f"the server's address {address} is on this machine or in a private network, which is not allowed here")


def _split(text: str) -> SplitResult:
    # urlsplit drops tabs, newlines and leading blanks without a word, and others read a backslash as a slash.
    if not text.isprintable() or any(mark in text for mark in ' \\"<>'):
        raise _bad("the server's address has blanks, quotes, backslashes or control characters")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise _bad("the server's address cannot be read") from None
    if parts.scheme not in PORTS:
        raise _bad("the server's address begins neither with http:// nor with https://")
    if "@" in parts.netloc:
        raise _bad("the server's address has a user or a password in it", "set CASEBRIDGE_SERVER_USER and _PASSWORD instead")
    if not _PLACE.fullmatch(parts.netloc) or parts.port == 0:
        raise _bad("the server's address has no host that can be read, or port 0")
    # Whoever resolves the dots comes out elsewhere than where the path seems to lead.
    if not {".", ".."}.isdisjoint(re.split(r"[/\\]", unquote(parts.path))):
        raise _bad("the server's address has . or .. in its path")
    return parts


def _origin(parts: SplitResult) -> Origin:
    return Origin(parts.scheme, _host(parts.hostname or ""), parts.port or PORTS[parts.scheme])


def _host(text: str) -> str:
    try:
        if ":" in text:
            return str(IPv6Address(text))
        ascii_host = text.encode("idna").decode().lower()
    except ValueError:
        raise _bad("the server's address has no legal host name") from None
    if not _DEVIATIONS.isdisjoint(text) or not _HOST.fullmatch(ascii_host):
        raise _bad("the server's host name has letters that may not be there", "write it in its ASCII form (xn--...)")
    return ascii_host


def _literal(host: str) -> str | None:
    """The address that a socket would connect to for a host that is a number in any notation; None for a name."""
    if ":" in host:
        return host
    try:
        return socket.inet_ntoa(socket.inet_aton(host))  # 2130706433, 0x7f.1 and 017700000001 are 127.0.0.1
    except OSError:
        return None


def _carried(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """The address and the IPv4 addresses that a gateway would read in it."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    inside = [address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        inside.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [address, *(each for each in inside if each)]


def _forbidden(address: IPv4Address | IPv6Address) -> str | None:
    if address.is_loopback:  # Python counts ::1 as reserved too
        return None
    if address in _METADATA:
        return "a cloud's metadata service"
    if address.is_link_local:
        return "link-local"
    if address.is_multicast:
        return "multicast"
    if address.is_unspecified or (address.version == 4 and address.packed[0] == 0):
        return "no address of a host"
    return "reserved" if address.is_reserved and address not in _NAT64 else None


def _is_local(address: IPv4Address | IPv6Address) -> bool:
    return not address.is_global or (isinstance(address, IPv6Address) and address.is_site_local)


def _bad(text: str, fix: str = _FIX) -> Usage:
    return Usage([Issue("error", "value", "sync-address", text, fix=fix)])
