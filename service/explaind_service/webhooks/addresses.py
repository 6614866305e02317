"""Public IP addresses: those to which a webhook chosen by a caller may be sent.

`ipaddress.is_global` is not enough: it is True for multicast, and for IPv6 addresses that stand for a private IPv4
address. So embedded addresses are unwrapped first, and non-public ranges are listed here, independent of the Python
version.
"""

from ipaddress import IPv4Address, IPv6Address, ip_network

Address = IPv4Address | IPv6Address

NAT64 = ip_network("64:ff9b::/96")
GLOBAL_UNICAST_6 = ip_network("2000::/3")

# IANA's special-purpose registries, and the private addresses of clouds.
NOT_PUBLIC_4 = [
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; the metadata of some clouds
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host, reachable from every virtual machine there
        "169.254.0.0/16",  # link-local; the metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation, as are 198.51.100.0/24 and 203.0.113.0/24
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
]
NOT_PUBLIC_6 = [
    ip_network(network)
    for network in (
        "2001::/23",  # protocol assignments; includes Teredo, whose embedded address is the relay's concern
        "2001:db8::/32",  # documentation, as is 3fff::/20
        "2002::/16",  # 6to4: unwrapped before
        "3fff::/20",
    )
]


def unwrapped(address: Address) -> Address:
    """The IPv4 address embedded in an IPv6 one (mapped, NAT64, 6to4), otherwise the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether the address, and an IPv4 address embedded in it, is a public unicast address."""
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return False
    inner = unwrapped(address)
    if isinstance(inner, IPv4Address):
        listed = any(inner in network for network in NOT_PUBLIC_4)
    else:
        listed = inner not in GLOBAL_UNICAST_6 or any(inner in network for network in NOT_PUBLIC_6)
    return not listed and inner.is_global and not inner.is_multicast and not inner.is_reserved
