"""The check for forked processes: gRPC does not survive a fork while it has a connection."""

import os
from weakref import WeakSet

from micro_etcd.errors import EtcdUnavailableError

_open: WeakSet[object] = WeakSet()  # the channels of this process; after a fork, of the parent
_forked: list[bool] = []  # not empty once the process was forked while a channel was open


def _note_fork() -> None:
    if _open:
        _forked.append(True)


os.register_at_fork(after_in_child=_note_fork)


def note_open(channel: object) -> None:
    """Note that a channel is open in this process."""
    check_fork()
    _open.add(channel)


def note_closed(channel: object) -> None:
    """Note that a channel is closed; idempotent."""
    _open.discard(channel)


def is_forked() -> bool:
    """Return whether this process was forked while a channel was open."""
    return bool(_forked)


def check_fork() -> None:
    """Return unless this process was forked while a channel was open.

    Raises:
        EtcdUnavailableError: It was; gRPC would hang.
    """
    if _forked:
        raise EtcdUnavailableError(
            "this process was forked while an etcd client was connected, and gRPC does not survive "
            "that: expected 'spawn' or 'forkserver', or a fork before the connection"
        )
