"""The end of a process whose stop does not end by itself."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import thread as executors
from types import FrameType
from typing import Any

from micro._handlers.threads import THREAD_NAME

logger = logging.getLogger("micro.context")

MARGIN = 1.7
"""Seconds beyond the grace time after which a process is ended."""

HURRY = 1.0
"""Seconds after a second signal after which a process is ended."""

MAX_NAMED = 20
"""Limit on the tasks and threads that the log names."""

MAX_DEPTH = 100
FRAMES = ("cr_frame", "gi_frame", "ag_frame")
AWAITED = ("cr_await", "gi_yieldfrom", "ag_await")

NOT_OF_THE_USER = (os.path.dirname(os.__file__), os.path.dirname(os.path.dirname(__file__)))
"""Folders of Python with its packages, and of this package."""


class LastResort:
    """A timer that logs stuck tasks and threads, and ends the process with exit code 0.

    Attributes:
        kept: Whether the owner of the process keeps the timer after the end of the context.
        loop: The event loop whose tasks the log names.
    """

    def __init__(self) -> None:
        self.kept = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self._timer: threading.Timer | None = None
        self._end = float("inf")

    @property
    def remaining(self) -> float | None:
        """Seconds until the end of the process, None if the timer does not run."""
        return None if self._timer is None else max(0.1, self._end - time.monotonic())

    def arm(self, seconds: float) -> None:
        """End the process in this many seconds, if it is not to end earlier."""
        end = time.monotonic() + seconds
        if end < self._end:
            self.disarm()
            self._end = end
            self._timer = _start(seconds, self._give_up)

    def disarm(self) -> None:
        """Let the process continue."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._end = None, float("inf")

    def _give_up(self) -> None:
        tasks = [] if self.loop is None else list(_stuck_tasks(self.loop))
        _end_process([*tasks, *_stuck_threads()])


def log_stuck_threads() -> None:
    """Log the threads that are left at the end of a stop."""
    for line in _stuck_threads():
        logger.error("the stop leaves %s", line)


def end_with_main_thread(seconds: float) -> None:
    """End the process if other threads outlive the main thread by this many seconds."""

    def watch() -> None:
        threading.main_thread().join()
        time.sleep(seconds)
        _end_process(list(_stuck_threads()))

    if any(_stuck_threads()):
        threading.Thread(target=watch, name="micro last resort", daemon=True).start()


def _start(seconds: float, call: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, call)
    timer.name = "micro last resort"
    timer.daemon = True
    timer.start()
    return timer


def _end_process(stuck: list[str]) -> None:
    for line in stuck[:MAX_NAMED]:
        logger.error("the stop waits for %s", line)
    logger.error("the stop takes too long: ending the process")
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(0)


def _stuck_tasks(loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    for task in asyncio.all_tasks(loop):
        yield f"task {_place(list(_awaited(task.get_coro())))}"


def _awaited(awaitable: Any) -> Iterator[FrameType]:
    """Yield the frames of a suspended coroutine, the outermost first."""
    for _ in range(MAX_DEPTH):
        frame = next((f for name in FRAMES if (f := getattr(awaitable, name, None))), None)
        if frame is not None:
            yield frame
            inner = next((a for name in AWAITED if (a := getattr(awaitable, name, None))), None)
            # A coroutine that is driven by hand is a variable of its driver.
            awaitable = inner or next(filter(inspect.iscoroutine, frame.f_locals.values()), None)
        else:  # a wrapper, such as the one of an asynchronous generator
            referents = gc.get_referents(awaitable)
            awaitable = next((r for r in referents if any(hasattr(r, n) for n in FRAMES)), None)


def _stuck_threads() -> Iterator[str]:
    frames = sys._current_frames()  # noqa: SLF001 - documented, in spite of its name
    for thread in threading.enumerate():
        waited_for = not thread.daemon and thread is not threading.main_thread()
        if waited_for or thread.name == THREAD_NAME:
            frame = frames.get(thread.ident) if thread.ident is not None else None
            if frame is not None and frame.f_code.co_filename == executors.__file__:
                continue  # an idle thread of an executor, which ends with the interpreter
            stack = [frame for frame, _ in traceback.walk_stack(frame)][::-1] if frame else []
            yield f"thread {thread.name!r} {_place(stack)}"


def _place(frames: list[FrameType]) -> str:
    """Return the innermost function of the user, else the innermost one."""
    own = [frame for frame in frames if not frame.f_code.co_filename.startswith(NOT_OF_THE_USER)]
    if not frames:
        return "in unknown code"
    frame = (own or frames)[-1]
    return f"in {frame.f_code.co_name} ({frame.f_code.co_filename}:{frame.f_lineno})"
