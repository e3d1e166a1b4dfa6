"""Calls in processes of their own, each under a time limit, so that none holds up a program.

A pattern that backtracks, or schemas that are hard to compare, keep one process busy until the
limit and then end it. The event loop, its default executor and other checks go on: there are more
processes than checks that take long at once.
"""

import asyncio
import atexit
import contextlib
import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from micro_schema_registry._compatibility.worker import read, write

T = TypeVar("T")
# Processes at most; of those that are free, all but two end.
_MOST = 8
_KEPT = 2
# Seconds that a check waits for one of those before it starts a further process, which takes longer
# than most checks.
_LONG = 0.25
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from micro_schema_registry._compatibility.worker import main; main()"
)


class CheckTimeoutError(TimeoutError):
    """A check took longer than it may."""


class CheckFailedError(Exception):
    """The process that ran a check ended before it answered."""


async def run(function: Callable[..., T], *args: Any, timeout: float) -> T:
    """Call a function in another process and return its result.

    Args:
        function: A function that can be imported; its arguments, result and errors can be pickled.
        args: Its arguments.
        timeout: Seconds from now, waiting for a free process included.

    Raises:
        CheckTimeoutError: The time was up; the process was ended.
        CheckFailedError: The process ended by itself, for want of memory for example.
    """
    check = _Check(pickle.dumps((function, args)))
    try:
        async with asyncio.timeout(timeout):
            succeeded, outcome = await asyncio.wrap_future(_POOL.threads.submit(check.run))
    except TimeoutError:
        raise CheckTimeoutError(f"the check took longer than {timeout:g} s") from None
    finally:
        check.end()
    if not succeeded:
        raise outcome
    return outcome  # type: ignore[no-any-return]  # the function's result, pickled in between


class _Worker:
    """A process that answers one request after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this program's own interpreter
            [sys.executable, "-c", _START, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, message: bytes) -> bytes:
        """Return the answer, empty if the process has ended."""
        requests, answers = self._process.stdin, self._process.stdout
        if requests is None or answers is None:
            return b""
        try:
            write(requests, message)
            return read(answers)
        except OSError:
            return b""

    def kill(self) -> None:
        """End the process; a thread that waits for its answer gets an empty one."""
        self._process.kill()

    def close(self) -> None:
        """End the process and close its pipes."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # the pipe holds unread bytes
                    pipe.close()


class _Pool:
    """The processes of this program, started when they are needed."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(_MOST, "schema-check")  # one for each process
        self._free: list[_Worker] = []
        self._busy = 0
        self._freed = threading.Condition()

    def take(self) -> _Worker:
        """Return a free process, or a new one where those that run are busy for long."""
        with self._freed:
            if self._busy >= _KEPT:
                self._freed.wait_for(lambda: self._free, _LONG)
            self._busy += 1
            if self._free:
                return self._free.pop()
        return _Worker()

    def give(self, worker: _Worker, *, is_usable: bool) -> None:
        """Keep a process for the next check, or end it where there are enough."""
        with self._freed:
            self._busy -= 1
            kept = is_usable and len(self._free) < _KEPT
            if kept:
                self._free.append(worker)
            self._freed.notify()
        if not kept:
            worker.close()

    def close(self) -> None:
        """End the free processes."""
        while self._free:
            self._free.pop().close()


class _Check:
    """One call in another process."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._ended = False

    def run(self) -> Any:
        """Return whether the call succeeded, with its result or error."""
        worker = _POOL.take()
        answer = b""
        with self._lock:
            is_late = self._ended
            self._worker = None if is_late else worker
        try:
            if not is_late:
                answer = worker.ask(self._message)
        finally:
            with self._lock:  # from here on there is nothing to end
                self._worker = None
            _POOL.give(worker, is_usable=is_late or bool(answer))
        if not answer:
            raise CheckFailedError("the process of a check ended before it answered")
        return pickle.loads(answer)  # noqa: S301 - from a process of this program

    def end(self) -> None:
        """End the call if it goes on."""
        with self._lock:
            self._ended = True
            if self._worker is not None:
                self._worker.kill()


_POOL = _Pool()
atexit.register(_POOL.close)
