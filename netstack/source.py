"""Source address selection for IPv6 (RFC 6724 section 5), in the order of its rules:

1. the destination itself, 2. the appropriate scope, 3. not a deprecated address, 5. an address of the outgoing
interface, 6. a matching label, 8. the longest matching prefix. (Rule 4 is about mobile IPv6 and rule 7 about temporary
addresses, which this stack does not make.) Among the equals the one added first wins.

Candidates are the addresses of every interface, but of the outgoing one alone when the destination is on its link or a
group (section 4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.address import SCOPE_LINK, common_prefix, is_multicast, parse_cidr, scope_of

if TYPE_CHECKING:
    from netstack.interface import Address, Interface
    from netstack.stack import Stack

# The policy table (RFC 6724 section 2.1): prefix, label; longest first.
POLICY = tuple(
    (int.from_bytes(parse_cidr(cidr)[0], "big") >> (128 - parse_cidr(cidr)[1]), 128 - parse_cidr(cidr)[1], label)
    for cidr, label in (
        ("::1/128", 0), ("::ffff:0:0/96", 4), ("::/96", 3), ("2001::/32", 5), ("2002::/16", 2), ("3ffe::/16", 12),
        ("fec0::/10", 11), ("fc00::/7", 13), ("::/0", 1),
    )
)  # fmt: skip


def label_of(address: bytes) -> int:
    """The label of the longest prefix in the policy table."""
    value = int.from_bytes(address, "big")
    for prefix, shift, label in POLICY:
        if value >> shift == prefix:
            return label
    return 1


def select_source6(stack: Stack, interface: Interface, dst: bytes) -> bytes | None:
    """The source for a packet that leaves through the interface, or None when there is no usable address."""
    scope = scope_of(dst)
    label = label_of(dst)
    if is_multicast(dst) or scope <= SCOPE_LINK:
        owners = [interface]
    else:
        owners = [interface, *(i for i in stack.interfaces.values() if i is not interface)]
    best: Address | None = None
    high: tuple[int, ...] = ()
    for owner in owners:
        for entry in owner.addresses:
            if entry.version != 6 or not entry.usable or (owner.loopback and owner is not interface):
                continue
            address = entry.address
            mine = scope_of(address)
            rank = (
                int(address == dst),
                # Of the scopes large enough the smallest, else the largest.
                32 - mine if mine >= scope else mine - 32,
                int(not entry.deprecated),
                int(owner is interface),
                int(label_of(address) == label),
                min(common_prefix(address, dst), entry.prefix),
            )
            if best is None or rank > high:
                best, high = entry, rank
    return best.address if best is not None else None
