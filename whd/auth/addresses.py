"""Which network addresses are public, and what the others are for.

After the special-purpose registries of IANA (RFC 6890 and its successors), written out here: `ipaddress.is_global`
changed its answers between versions of Python, and knows neither the metadata services of clouds nor what an IPv6
address carries inside. Deny by default: an IPv6 address outside 2000::/3 is not public. Nothing here does I/O.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

_IPV4 = (
    # A /32 stands before the block that it lies in: the first match says most.
    ("169.254.169.254/32", "cloud metadata"),  # AWS, Google, Azure, OpenStack and others
    ("169.254.170.2/32", "cloud metadata"),  # AWS, containers
    ("168.63.129.16/32", "cloud metadata"),  # Azure's wire server, a public address by its block
    ("100.100.100.200/32", "cloud metadata"),  # Alibaba
    ("192.0.0.192/32", "cloud metadata"),  # Oracle
    ("0.0.0.0/8", "unspecified"),  # RFC 1122, 3.2.1.3; Linux connects 0.0.0.0 to this host
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared"),  # RFC 6598, carrier-grade NAT
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "reserved"),  # RFC 7526, 6to4 relays
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "benchmark"),  # RFC 2544
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),  # with 255.255.255.255
)
_IPV6 = (
    ("fd00:ec2::254/128", "cloud metadata"),  # AWS
    ("fd00:ec2::23/128", "cloud metadata"),  # AWS, EKS
    ("fd20:ce::254/128", "cloud metadata"),  # Google
    ("fd00:c1::a9fe:a9fe/128", "cloud metadata"),  # Oracle
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("64:ff9b:1::/48", "private"),  # RFC 8215, NAT64 of a network's own
    ("2001::/23", "reserved"),  # RFC 2928; Teredo, which lies in it, is read before
    ("2001:db8::/32", "documentation"),
    ("3fff::/20", "documentation"),  # RFC 9637
    ("fc00::/7", "private"),  # RFC 4193, unique local
    ("fe80::/10", "link-local"),
    ("fec0::/10", "private"),  # RFC 3879, the former site-local
    ("ff00::/8", "multicast"),
)

_IPV4_NETWORKS = tuple((ipaddress.IPv4Network(text), kind) for text, kind in _IPV4)
_IPV6_NETWORKS = tuple((ipaddress.IPv6Network(text), kind) for text, kind in _IPV6)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291, 2.4

_LOW_32 = 0xFFFFFFFF
# Prefixes that carry an IPv4 address, and how far right of it the other bits are.
_EMBEDDING = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),  # RFC 4291, 2.5.5.2, IPv4-mapped
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 0),  # RFC 2765, 2.1, IPv4-translated
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # RFC 6052, NAT64
    (ipaddress.IPv6Network("2002::/16"), 80),  # RFC 3056, 6to4
)
_TEREDO = ipaddress.IPv6Network("2001::/32")


@lru_cache(maxsize=1024)
def kind_of(address: str) -> str:
    """What an address that is not public is for, as in "loopback"; "" if it is public.

    An IPv6 address that carries an IPv4 one is judged by the inner one. What is no address is "unreadable".
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unreadable"
    return _kind_of_ipv4(parsed) if isinstance(parsed, ipaddress.IPv4Address) else _kind_of_ipv6(int(parsed))


def _kind_of_ipv4(address: ipaddress.IPv4Address) -> str:
    return next((kind for network, kind in _IPV4_NETWORKS if address in network), "")


def _kind_of_ipv6(number: int) -> str:
    # From the number: an address with a zone (fe80::1%eth0) must be found in its network all the same.
    address = ipaddress.IPv6Address(number)
    for network, shift in _EMBEDDING:
        if address in network:
            return _kind_of_ipv4(ipaddress.IPv4Address((number >> shift) & _LOW_32))
    if address in _TEREDO:
        # RFC 4380, 4: the server's address, and the client's with all bits turned over.
        server, client = (number >> 64) & _LOW_32, ~number & _LOW_32
        return _kind_of_ipv4(ipaddress.IPv4Address(server)) or _kind_of_ipv4(ipaddress.IPv4Address(client))
    for ipv6_network, kind in _IPV6_NETWORKS:
        if address in ipv6_network:
            return kind
    return "" if address in _GLOBAL_UNICAST else "reserved"
