"""The program that compares schemas and checks values for another process; see `checks`.

It reads requests from its standard input until that ends, and answers each on its standard output:
8 bytes that say how long the message is, then the message, a pickled tuple. Both ends are of one
program, started by itself.
"""

import os
import pickle
import signal
import struct
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

LENGTH = struct.Struct(">Q")
_STACK = 512 * 1024 * 1024
_MAX_FRAMES = 200_000


def read(stream: IO[bytes]) -> bytes:
    """Return the next message, empty at the end of the stream."""
    head = stream.read(LENGTH.size)
    return stream.read(*LENGTH.unpack(head)) if len(head) == LENGTH.size else b""


def write(stream: IO[bytes], message: bytes) -> None:
    """Send a message."""
    stream.write(LENGTH.pack(len(message)) + message)
    stream.flush()


def main() -> None:
    """Serve the parent process until it closes the pipe or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes the pipe
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries may print
    if hasattr(os, "nice"):
        os.nice(5)  # the parent has requests to answer meanwhile
    # Schemas refer to each other over thousands of steps; memory is only used where stack is.
    sys.setrecursionlimit(_MAX_FRAMES)
    threading.stack_size(_STACK)
    serving = threading.Thread(target=_serve, args=(sys.stdin.buffer, answers))
    serving.start()
    serving.join()


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    while message := read(requests):
        answer = _answer(*pickle.loads(message))  # noqa: S301 - from the parent
        write(answers, pickle.dumps(answer))


def _answer(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[bool, Any]:
    try:
        return True, function(*args)
    except RecursionError:
        return False, ValueError("the schema is nested too deeply")
    except ValueError as error:
        return False, ValueError(str(error))  # any of its own fields may be impossible to pickle
    except Exception as error:  # noqa: BLE001 - it is raised again where the request came from
        return False, RuntimeError(f"{type(error).__name__}: {error}")
