"""The function that runs a program."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from nats.aio.client import Client as NatsClient

from micro._connection.settings import ConnectOption
from micro._errors import MicroError
from micro._program.context import Context


def run(
    setup: Callable[[Context], Coroutine[Any, Any, None]],
    /,
    *options: ConnectOption,
    trap_signals: bool | tuple[signal.Signals, ...] = False,
    client: NatsClient | None = None,
) -> None:
    """Run a program: `Context.run_forever` in a new event loop.

    An error of micro, such as an unreachable server, ends the process with one line on standard
    error and exit code 1. Ctrl-C without a trap stops the program, too, with exit code 130.

    Args:
        setup: An async function of the context that adds services.
        options: Values from `micro.options`.
        trap_signals: True for SIGINT and SIGTERM, or the signals to trap.
        client: A NATS client to connect with.
    """

    async def main() -> None:
        await Context(client).run_forever(setup, *options, trap_signals=trap_signals)

    try:
        asyncio.run(main())
    except MicroError as error:
        raise SystemExit(f"micro: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None
