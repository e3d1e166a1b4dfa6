"""The traceback of a failed program, without the frames that led to its code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from types import TracebackType

_OURS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
_PYTHON = os.path.dirname(os.__file__)
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def print_failure(error: Exception) -> None:
    """Print the traceback of an exception, see `without_ours`."""
    frames = without_ours(error.__traceback__)
    if frames is error.__traceback__ and isinstance(error, SyntaxError):
        frames = None  # its program did not run, and it names its place by itself
    traceback.print_exception(type(error), error, frames, file=sys.stderr)


def trim_uncaught(error: Exception) -> None:
    """Let Python print the traceback of an exception, if it is not caught, see `without_ours`."""
    hook = sys.excepthook
    if isinstance(hook, _Trimming):
        hook.error = error  # a program that runs again after each failure gets no further hook
    else:
        sys.excepthook = _Trimming(error, hook)


class _Trimming:
    """A hook that trims the traceback of one exception."""

    def __init__(self, error: Exception, previous: Callable[..., object]) -> None:
        self.error = error
        self._previous = previous

    def __call__(
        self, kind: type[BaseException], last: BaseException, frames: TracebackType | None
    ) -> None:
        if last is self.error:
            frames = without_ours(frames)
            last.__traceback__ = frames  # the default hook prints this one
        self._previous(kind, last, frames)


def without_ours(frames: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of micro and Python that led to others.

    The frames behind the last one of the program stay: they say what it called. A traceback without
    a frame of the program stays as it is.
    """
    each, frame = [], frames
    while frame is not None:
        each.append(frame)
        frame = frame.tb_next
    last = max((index for index, one in enumerate(each) if not _is_ours(one)), default=None)
    if last is None:
        return frames
    kept = each[last].tb_next
    for one in reversed(each[: last + 1]):
        if not _is_ours(one):
            kept = TracebackType(kept, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return kept


def _is_ours(frame: TracebackType) -> bool:
    """Return whether a frame belongs to micro or Python."""
    path = frame.tb_frame.f_code.co_filename
    if path.startswith(_OURS):
        return True
    return path.startswith((_PYTHON, "<frozen ")) and not any(part in path for part in _INSTALLED)
