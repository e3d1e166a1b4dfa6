"""The process of one worker; `micro.cli._supervisor` starts it and tells it over a pipe what to run.

Standard input holds one line, the program, and then nothing until the supervisor is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from micro._errors import ConfigError, MicroError
from micro.cli._output import Exit
from micro.cli._program import Program


def work(ready_fd: int) -> int:
    """Run the program of a worker; write to ``ready_fd`` when its setup is through."""
    program = Program.from_json(sys.stdin.readline())
    program.configure_logging()
    threading.Thread(target=_stop_with_supervisor, daemon=True).start()

    def ready() -> None:
        os.write(ready_fd, b"r")
        os.close(ready_fd)

    try:
        program.serve(ready)
    except MicroError as error:
        print(f"micro: {error}", file=sys.stderr)  # noqa: T201 - the one line a user is to read
        return Exit.USAGE if isinstance(error, ConfigError) else Exit.FAILED
    return Exit.DONE


def _stop_with_supervisor() -> None:
    os.read(sys.stdin.fileno(), 1)  # returns when the other end is closed
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(work(int(sys.argv[1])))
