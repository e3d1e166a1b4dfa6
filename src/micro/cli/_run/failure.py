"""The traceback of a failed program, from the first frame of its author on."""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType

import micro

_OURS = os.path.dirname(micro.__file__)
_PYTHON = os.path.dirname(os.__file__)


def print_failure(error: Exception) -> None:
    """Print the traceback of an exception without the frames that led to the program."""
    frames = _from_the_program(error.__traceback__)
    if frames is None and not isinstance(error, SyntaxError):  # that names its place by itself
        frames = error.__traceback__
    traceback.print_exception(type(error), error, frames, file=sys.stderr)


def _from_the_program(frames: TracebackType | None) -> TracebackType | None:
    """Return the frames from the first one that belongs to neither micro nor Python."""
    while frames is not None:
        if not frames.tb_frame.f_code.co_filename.startswith((_OURS, _PYTHON, "<")):
            return frames
        frames = frames.tb_next
    return None
