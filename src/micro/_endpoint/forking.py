"""Forks of a process with connections: the child must leave them to its parent.

Parent and child share the sockets, and what the event loop waits for. A child that goes on in the
event loop reads and answers in place of the parent, and whatever it closes the parent does not hear
of any more. So it ends where it would go on: it may do its work in the handler and end itself, as
the processes of `multiprocessing` do.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading

from micro._wire.client_state import all_states
from micro._wire.fast_transport import fast

logger = logging.getLogger("micro.fork")


class _Forked(threading.local):
    loop: asyncio.AbstractEventLoop | None = None
    """The event loop that this thread was in before a fork."""


_forked = _Forked()
children: list[int] = []
"""Not empty in a child."""


def _before() -> None:
    try:
        _forked.loop = asyncio.get_running_loop()
    except RuntimeError:
        _forked.loop = None


def _in_child() -> None:
    children.append(os.getpid())
    for nc, _ in all_states():
        transport = fast(nc)
        if transport is not None:
            transport.abandon()
    if _forked.loop is not None:
        _forked.loop.call_soon(end_child)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_before, after_in_child=_in_child)


def end_child(error: BaseException | None = None) -> None:
    """End a child that would go on in the work of its parent.

    Args:
        error: The exception that the handler raised; a `SystemExit` has the exit code.
    """
    code: object = error.code if isinstance(error, SystemExit) else os.EX_SOFTWARE
    if not isinstance(error, SystemExit):
        logger.error("a handler goes on in a forked process: ending it; call os._exit there")
    os._exit(code if isinstance(code, int) else int(code is not None))
