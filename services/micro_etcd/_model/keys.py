"""Arithmetic on keys: prefix ranges and namespaces. Pure."""

from dataclasses import dataclass

EVERYTHING = b"\x00"  # as a range end: every key from the start key on


def prefix_end(prefix: bytes) -> bytes:
    """Return the first key after all keys that start with `prefix`.

    Source: etcd's range convention; a prefix of nothing but 0xff has no end.
    """
    stem = prefix.rstrip(b"\xff")
    if not stem:
        return EVERYTHING
    return stem[:-1] + bytes((stem[-1] + 1,))


def prefix_range(prefix: bytes) -> tuple[bytes, bytes]:
    """Return the (key, range_end) pair that covers a prefix; the empty prefix is every key."""
    return (prefix if prefix else b"\x00", prefix_end(prefix))


@dataclass(frozen=True, slots=True)
class Namespace:
    """A prefix that is put before every key sent and taken off every key received."""

    prefix: bytes = b""

    def key(self, key: bytes) -> bytes:
        """Return the key as etcd stores it; an empty key stays empty, so that etcd refuses it."""
        return self.prefix + key if key else b""

    def end(self, range_end: bytes) -> bytes:
        """Return a range end that lies within the namespace."""
        if not self.prefix or not range_end:
            return range_end
        return prefix_end(self.prefix) if range_end == EVERYTHING else self.prefix + range_end

    def strip(self, key: bytes) -> bytes:
        """Return the key as the user wrote it."""
        return key[len(self.prefix) :]


WHOLE = Namespace()
