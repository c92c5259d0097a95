"""What an address may look like, and which addresses of the network nobody but us can reach."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
SCHEMES = ("http", "https")
LONGEST = 4000
HOST = re.compile(r"[^\W_](?:[\w-]*[^\W_])?(?:\.[^\W_](?:[\w-]*[^\W_])?)*\.?|\[[0-9A-Fa-f:.]+\]")
UNSEEN = re.compile(r"[\x00-\x20\x7f-\x9f\\\u2028\u2029]")
# Networks that carry an address of the old kind inside: how far to the right it stands.
CARRIERS = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 0),
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),
    (ipaddress.IPv6Network("2002::/16"), 80),
)
TUNNELS = (ipaddress.IPv6Network("2001::/32"), ipaddress.IPv6Network("64:ff9b:1::/48"))
# Public by number, yet answered inside a cloud: the host's own services.
INSIDE_CLOUDS = (ipaddress.IPv4Network("168.63.129.16/32"), ipaddress.IPv4Network("192.0.0.0/24"))


def wrong(url: str) -> str:
    """Return what is wrong with the shape of an address; nothing where it is sound.

    >>> wrong("https://example.org/a?b#c")
    ''
    >>> wrong("ftp://example.org/a")
    'only http and https addresses are links'
    >>> wrong("https://ada:secret@example.org/")
    'it carries a name or a password: take it out'
    """
    if len(url) > LONGEST:
        return f"it has {len(url)} characters, more than {LONGEST}"
    if UNSEEN.search(url):
        return "it holds a space, a backslash or a character that cannot be seen"
    scheme, host, port = "", "", None
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.netloc, parts.port
    except ValueError:
        host = "?"
    if "@" in host:
        return "it carries a name or a password: take it out"
    name = host if port is None else host.rpartition(":")[0]
    if host and (port == 0 or not HOST.fullmatch(name.removesuffix(":"))):
        return "its host or port cannot be read"
    if scheme not in SCHEMES:
        return "only http and https addresses are links"
    return "" if host else "it names no host"


def host_of(url: str) -> str:
    """Return the host of a sound address, in small letters and without the dot at its end.

    >>> host_of("https://WWW.example.org.:8080/a")
    'www.example.org'
    """
    return (urlsplit(url).hostname or "").removesuffix(".")


def private(address: str) -> str:
    """Return why an address of the network must not be asked; nothing for an address of the public internet.

    >>> private("93.184.216.34"), private("10.1.2.3"), private("::ffff:127.0.0.1")
    ('', 'a private address', 'an address of this machine')
    """
    try:
        ip = _carried(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return "no address of the network"
    kinds = {
        "an address that hides another one": ip.version == 6 and any(ip in network for network in TUNNELS),
        "an address inside a cloud": ip.version == 4 and any(ip in network for network in INSIDE_CLOUDS),
        "an address of this machine": ip.is_loopback or ip.is_unspecified,
        "an address of the local link, where clouds keep their secrets": ip.is_link_local,
        "an address of many machines": ip.is_multicast,
        "a private address": not ip.is_global or ip.is_reserved or (ip.version == 6 and ip.is_site_local),
    }
    return next((kind for kind, holds in kinds.items() if holds), "")


def _carried(ip: Ip) -> Ip:
    """Return the address of the old kind inside one of the new kind, where there is one."""
    for network, shift in CARRIERS:
        if ip.version == 6 and ip in network:
            return ipaddress.IPv4Address((int(ip) >> shift) & 0xFFFFFFFF)
    return ip
