"""`micro run`: a program in this process, or in several supervised processes."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import typer

from micro._errors import ConfigError, MicroError
from micro._program.failure import print_failure
from micro.cli._completion import complete_setup
from micro.cli._flags import Serving, parse_duration
from micro.cli._output import Exit, fail
from micro.cli._run.program import Loop, Program
from micro.cli._run.supervisor import Supervisor


def run(  # noqa: PLR0913 - flags of a command
    connection: Serving,
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:SETUP", autocompletion=complete_setup, help="The async setup function."
        ),
    ],
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", "-w", min=1, help="Number of supervised processes; SIGHUP replaces them."
        ),
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Replace the processes when a source file changes.")
    ] = False,
    loop: Annotated[Loop, typer.Option("--loop", help="The event loop.")] = Loop.asyncio,
    grace: Annotated[
        float | None,
        typer.Option(
            "--grace",
            metavar="TIME",
            parser=parse_duration,
            help="Time that a stop may take: 25 seconds, or MICRO_GRACE.",
            show_default=False,
        ),
    ] = None,
    access_log: Annotated[
        bool | None,
        typer.Option(
            "--access-log/--no-access-log",
            help="Log each request; on with --reload.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run services until Ctrl-C or SIGTERM; no request is lost at the end.

    MODULE is imported with the current folder on the path. SETUP is an async function of the
    context, or a function that returns one, or a service declared by `micro.service`.

    Examples:
      micro run app:setup
      micro run app:shop
      micro run app:setup --reload
      micro run app:setup --access-log
      micro run app:setup --workers 4 --loop uvloop --server nats://10.0.0.1:4222
      micro run app:setup --json --health :8080
      kill -HUP PID    # replaces the workers one by one, with new code
    """
    if connection.health is not None and (workers is not None or reload):
        fail(
            "--health is for a single process: no --workers, no --reload", Exit.USAGE, as_json=False
        )
    logged = reload if access_log is None else access_log
    program = Program(target, connection, loop, grace, logged)
    program.configure_logging()
    try:
        if workers is None and not reload:
            program.serve()
        else:
            supervise(program, 1 if workers is None else workers, reload=reload)
    except ConfigError as error:
        fail(str(error), Exit.USAGE, as_json=False)
    except MicroError as error:
        fail(str(error), Exit.FAILED, as_json=False)
    except typer.Exit:
        raise
    except Exception as error:  # noqa: BLE001 - the program of the user may raise anything
        print_failure(error)
        raise typer.Exit(Exit.FAILED) from None


def supervise(program: Program, count: int, *, reload: bool) -> None:
    """Run a program in worker processes, and end this one with their exit code.

    Raises:
        ConfigError: Reloading needs a package that is missing.
    """
    code = asyncio.run(_reload(program, count) if reload else Supervisor(program, count).run())
    raise typer.Exit(code)


async def _reload(program: Program, count: int) -> int:
    try:
        from watchfiles import PythonFilter, awatch
    except ModuleNotFoundError:
        raise ConfigError("--reload needs watchfiles: pip install 'natsmicro[cli]'") from None
    supervisor = Supervisor(program, count, patient=True)
    stop = asyncio.Event()

    async def watch() -> None:
        async for _ in awatch(os.getcwd(), watch_filter=PythonFilter(), stop_event=stop):
            supervisor.roll()

    watching = asyncio.create_task(watch())
    try:
        return await supervisor.run()
    finally:
        stop.set()
        await watching
