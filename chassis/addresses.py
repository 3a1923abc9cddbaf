"""Decides which network addresses may be called. Protects the internal network from requests to
addresses that partners entered.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
# IPv6 addresses that embed an IPv4 address; the embedded address is checked
_NAT64 = IPv6Network("64:ff9b::/96")

# Networks without public hosts; some versions of Python count some of them as global: site-local
# (RFC 3879), documentation (RFC 3849, 9637, 5737), discard-only (RFC 6666), local-use NAT64
# (RFC 8215).
_NON_PUBLIC = tuple(
    ip_network(net)
    for net in (
        "fec0::/10 2001:db8::/32 3fff::/20 100::/64 64:ff9b:1::/48 192.0.2.0/24 198.51.100.0/24"
        " 203.0.113.0/24"
    ).split()
)


def may_call(address: Address, *, development: bool) -> bool:
    """Returns True for a public address and, in development, for a loopback address."""
    address = _embedded(address)
    if development and address.is_loopback:
        return True
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in net for net in _NON_PUBLIC)
    )


def _embedded(address: Address) -> Address:
    """Returns the IPv4 address that an IPv6 address embeds, or else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return (
        address.ipv4_mapped
        or address.sixtofour
        or (address.teredo[1] if address.teredo else None)
        or address
    )
