"""The function that runs a program."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any

from nats.aio.client import Client as NatsClient

from micro._connection.settings import ConnectOption
from micro._errors import ConfigError, MicroError
from micro._program.announcement import announce, default_logging
from micro._program.context import Context
from micro._program.failure import trim_uncaught
from micro._program.last_resort import LastResort, end_with_main_thread, log_stuck_threads
from micro._program.setups import Program, setup_of

logger = logging.getLogger("micro.run")


def run(
    setup: Program,
    /,
    *options: ConnectOption,
    trap_signals: bool | tuple[signal.Signals, ...] = False,
    client: NatsClient | None = None,
    grace: float | None = None,
) -> None:
    """Run a program: `Context.run_forever` in a new event loop.

    After the setup, the log says which services run, and where. If the program has configured no
    logging until then, log lines of micro from level INFO go to standard error.

    An error of micro, such as an unreachable server, ends the process with one line on standard
    error and exit code 1. The traceback of any other exception begins with the frames of the
    program. Ctrl-C without a trap stops the program, too, with exit code 130.

    Args:
        setup: An async function of the context that adds services, or a service declared by
            `micro.service`, or a list of declared services.
        options: Values from `micro.options`.
        trap_signals: True for SIGINT and SIGTERM, or the signals to trap.
        client: A NATS client to connect with.
        grace: Seconds that a stop may take; see `Context`.

    Raises:
        ConfigError: An event loop runs already, as in a notebook, or a service is not declared.
    """
    begin = setup_of(setup)
    if _loop_runs():
        raise ConfigError(
            "an event loop runs already, so micro.run cannot start one: "
            "use `await micro.Context().run_forever(setup)`"
        )

    ending = "Ctrl-C stops it; no request is lost" if trap_signals else "Ctrl-C stops it"

    async def main(context: Context) -> None:
        with ExitStack() as logs:

            async def start(context: Context) -> None:
                await begin(context)
                logs.enter_context(default_logging())
                announce(context, ending=ending)

            await context.run_forever(start, *options, trap_signals=trap_signals)

    if not trap_signals:
        logger.warning("SIGTERM will lose requests in flight: pass trap_signals=True to micro.run")
    try:
        run_process(main, client=client, grace=grace)
    except MicroError as error:
        raise SystemExit(f"micro: {error}") from error
    except Exception as error:
        trim_uncaught(error)
        raise
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None


def run_process(
    main: Callable[[Context], Coroutine[Any, Any, None]],
    *,
    client: NatsClient | None = None,
    grace: float | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None:
    """Run a coroutine of a context that owns the process.

    If the process does not end within the grace time plus two seconds after the context was
    cancelled, the log names the tasks and threads that are left, and the process ends.
    """
    last_resort = LastResort()
    last_resort.kept = True

    async def start() -> None:
        context = Context(client, grace=grace)
        context.__lifetime__.last_resort = last_resort
        await main(context)

    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(start())
    finally:
        remaining = last_resort.remaining
        last_resort.disarm()
        if remaining is not None:
            log_stuck_threads()
            end_with_main_thread(remaining)


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
