"""Lease ids that show which namespace a lease belongs to.

Leases belong to the whole cluster. The service draws the ids itself: 39 random bits, then 24 bits
of a hash of them and the namespace's prefix. So every instance knows the owner of a lease by its id
alone.
"""

import hashlib
import secrets

_TAG_BITS = 24


def draw(prefix: bytes) -> int:
    """Return a new id for a lease of a namespace."""
    number = secrets.randbits(39) | 1 << 38
    return number << _TAG_BITS | _tag(prefix, number)


def belongs(prefix: bytes, id: int) -> bool:
    """Return whether a lease belongs to a namespace."""
    number = id >> _TAG_BITS
    return number > 0 and id & (1 << _TAG_BITS) - 1 == _tag(prefix, number)


def _tag(prefix: bytes, number: int) -> int:
    data = number.to_bytes(8) + prefix
    return int.from_bytes(hashlib.blake2b(data, digest_size=_TAG_BITS // 8).digest())
