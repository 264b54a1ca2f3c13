"""Where a webhook may be sent: the public network and this machine, never a private network that somebody names from outside.

The name is resolved once, every address it has is checked, and the connection is made to the address that was checked, so that a
name which changes its address between check and connection gains nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import urlsplit

from truing.errors import TruingError

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
_NAT64 = IPv6Network("64:ff9b::/96")


class ForbiddenAddressError(TruingError):
    """The service does not post there."""


class Target(NamedTuple):
    """A checked place to post to."""

    host: str
    """As the URL names it: for the Host header and the certificate."""
    address: str
    """What is connected to."""
    port: int
    is_tls: bool


def resolve(host: str, port: int) -> list[str]:
    """Every address of a host. Raises ForbiddenAddressError where it has none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ForbiddenAddressError(f"{host}: no such host ({error})") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def check_url(url: str) -> None:
    """Raise ForbiddenAddressError for a URL that no address could make right."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ForbiddenAddressError(f"{url!r}: write https://HOST/PATH (http only to this machine)")
    if parts.username is not None or parts.password is not None:
        raise ForbiddenAddressError("a webhook's URL carries no user name or password; it is signed instead")
    try:
        _ = parts.port  # reading it checks it
    except ValueError:
        raise ForbiddenAddressError(f"{url!r}: the port is no port number") from None


def checked_target(url: str, allowed_networks: Sequence[str] = (), resolver: Resolve = resolve) -> Target:
    """Where to connect for `url`. Raises ForbiddenAddressError where any address of its host is one that may not be posted to.

    Private addresses are allowed inside `allowed_networks` (CIDR); plain http only to this machine and inside those.
    """
    check_url(url)
    parts = urlsplit(url)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    networks = [ip_network(network) for network in allowed_networks]
    addresses = [ip_address(found.partition("%")[0]) for found in resolver(host, port)]
    for address in addresses:
        inner = _inner(address)
        is_near = inner.is_loopback or any(inner in network for network in networks if network.version == inner.version)
        if not is_near and (not inner.is_global or inner.is_multicast):
            raise ForbiddenAddressError(
                f"{host} is at {address}, an address of a private network. Where that is meant, allow its network "
                "in the service's settings (webhook_networks)"
            )
        if not is_near and not is_tls:
            raise ForbiddenAddressError(f"{host}: use https; plain http is for this machine only")
    return Target(host, str(addresses[0]), port, is_tls)


def _inner(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that stands for it (mapped, 6to4, Teredo, NAT64)."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
