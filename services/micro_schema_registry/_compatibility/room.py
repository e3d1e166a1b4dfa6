"""Room for deep recursion: schemas refer to each other over thousands of steps."""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
_STACK = 512 * 1024 * 1024  # memory is only used where stack is
_MAX_FRAMES = 200_000
_lock = threading.Lock()
_users = 0
_usual = 0
_here = threading.local()


def with_room(function: Callable[..., T], *args: Any) -> T:
    """Call a function in a thread with a large stack and a high limit of recursion.

    Raises:
        ValueError: Even that was not enough.
    """
    if getattr(_here, "is_enough", False):
        return function(*args)
    future: Future[T] = Future()
    _raise_limit()
    try:
        with _lock:
            size = threading.stack_size(_STACK)
            thread = threading.Thread(target=_run, args=(future, function, args), daemon=True)
            thread.start()
            threading.stack_size(size)
        return future.result()
    except RecursionError:
        raise ValueError("the schema is nested too deeply") from None
    finally:
        _restore_limit()


def without_room(function: Callable[..., T], *args: Any) -> T:
    """Call a function in this thread, with the stack that is left.

    Raises:
        RecursionError: That was not enough.
    """
    before = getattr(_here, "is_enough", False)
    _here.is_enough = True
    try:
        return function(*args)
    finally:
        _here.is_enough = before


def _run(future: "Future[T]", function: Callable[..., T], args: tuple[Any, ...]) -> None:
    _here.is_enough = True
    try:
        future.set_result(function(*args))
    except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
        future.set_exception(error)


def _raise_limit() -> None:
    global _users, _usual  # noqa: PLW0603 - the limit belongs to the process
    with _lock:
        if not _users:
            _usual = sys.getrecursionlimit()
            sys.setrecursionlimit(max(_MAX_FRAMES, _usual))
        _users += 1


def _restore_limit() -> None:
    global _users  # noqa: PLW0603 - as above
    with _lock:
        _users -= 1
        if not _users:
            sys.setrecursionlimit(_usual)
