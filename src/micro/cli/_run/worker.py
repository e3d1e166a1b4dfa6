"""The process of one worker, started by `micro.cli._run.supervisor`.

Standard input has one line, the program, and ends when the supervisor does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from micro._errors import ConfigError, MicroError
from micro._program.failure import print_failure
from micro.cli._output import Exit
from micro.cli._run.program import Program


def work(ready_fd: int) -> int:
    """Run the program of a worker; write to `ready_fd` when its setup has returned."""
    program = Program.from_json(sys.stdin.readline())
    program.configure_logging()
    threading.Thread(target=_stop_with_supervisor, daemon=True).start()

    def ready() -> None:
        os.write(ready_fd, b"r")
        os.close(ready_fd)

    try:
        program.serve(ready)
    except MicroError as error:
        print(f"micro: {error}", file=sys.stderr)  # noqa: T201 - the line for the user
        return Exit.USAGE if isinstance(error, ConfigError) else Exit.FAILED
    except Exception as error:  # noqa: BLE001 - the program of the user may raise anything
        print_failure(error)
        return Exit.FAILED
    return Exit.DONE


def _stop_with_supervisor() -> None:
    os.read(sys.stdin.fileno(), 1)  # returns when the other end is closed
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(work(int(sys.argv[1])))
