"""The output of commands and their exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Coroutine, Iterable, Sequence
from enum import IntEnum
from typing import Any, NoReturn

import nats.errors
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from micro._errors import ConfigError, MicroError, ServiceError


class Exit(IntEnum):
    """The exit code of a command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_ANSWER = 3
    TIMED_OUT = 4
    SERVICE_ERROR = 5
    INTERRUPTED = 130


class NoAnswerError(MicroError):
    """No service answered, because none runs."""


def make_console() -> Console:
    """Return a console on standard output, with lines of full length if it is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=240, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a JSON document as one line."""
    typer.echo(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def make_table(*columns: str, right: Sequence[str] = (), title: str | None = None) -> Table:
    """Return a table without lines; the columns in `right` hold numbers."""
    table = Table(box=None, title=title, title_justify="left", header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def add_row(table: Table, cells: Iterable[str]) -> None:
    """Add a row of untrusted texts."""
    table.add_row(*(Text(clean(cell)) for cell in cells))


def print_rows(rows: Iterable[Sequence[str]], *columns: str, right: Sequence[str] = ()) -> None:
    """Print a table of untrusted texts."""
    table = make_table(*columns, right=right)
    for row in rows:
        add_row(table, row)
    make_console().print(table)


def print_line(text: str, *, style: str = "", end: str = "\n") -> None:
    """Print an untrusted text."""
    make_console().print(Text(clean(text), style), end=end)


def clean(text: str) -> str:
    """Replace the control characters of a text that any service may have sent."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def execute(work: Coroutine[Any, Any, None], *, as_json: bool) -> None:
    """Run a command; an error becomes one line and an exit code, SIGTERM exit code 0."""
    try:
        asyncio.run(_until_terminated(work))
    except KeyboardInterrupt:
        raise typer.Exit(Exit.INTERRUPTED) from None
    except ServiceError as error:
        details, lines = _describe(error), _invalid_members(error)
        fail(str(error), Exit.SERVICE_ERROR, as_json=as_json, details=details, lines=lines)
    except ConfigError as error:
        fail(str(error), Exit.USAGE, as_json=as_json)
    except NoAnswerError as error:
        fail(str(error), Exit.NO_ANSWER, as_json=as_json)
    except TimeoutError as error:
        fail(f"timed out: {error}", Exit.TIMED_OUT, as_json=as_json)
    except (MicroError, nats.errors.Error) as error:
        fail(str(error), Exit.FAILED, as_json=as_json)


async def _until_terminated(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    terminated = False

    def terminate() -> None:
        nonlocal terminated
        terminated = True
        task.cancel()

    if sys.platform != "win32" and threading.current_thread() is threading.main_thread():
        loop.add_signal_handler(signal.SIGTERM, terminate)
    try:
        await task
    except asyncio.CancelledError:
        if not terminated:
            raise


def fail(
    message: str,
    code: Exit,
    *,
    as_json: bool,
    details: dict[str, Any] | None = None,
    lines: Iterable[str] = (),
) -> NoReturn:
    """End the command with a line on standard error, and with JSON on standard output.

    Args:
        message: The line.
        code: The exit code.
        as_json: Whether to print JSON.
        details: Further members of the JSON object.
        lines: Further lines, which are indented; JSON has them in its details.
    """
    if as_json:
        print_json({"error": {"message": message, **({} if details is None else details)}})
    typer.echo(f"micro: {clean(message)}", err=True)
    for line in () if as_json else lines:
        typer.echo(f"  {clean(line)}", err=True)
    raise typer.Exit(code)


def read_payload(text: str) -> bytes:
    """Return the payload of an argument: standard input for `-`, else its bytes."""
    return sys.stdin.buffer.read() if text == "-" else os.fsencode(text)


def shown_payload(data: bytes) -> Any:
    """Return a payload for a JSON document: its JSON, else text, else `{"base64": ...}`."""
    import base64

    try:
        return json.loads(data)
    except ValueError:
        pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def write_payload(data: bytes, *, line: bool = False) -> None:
    """Write a payload unchanged; a terminal gets a line end after it, or everything with `line`."""
    sys.stdout.buffer.write(data + b"\n" if line or sys.stdout.isatty() else data)
    sys.stdout.buffer.flush()


def _describe(error: ServiceError) -> dict[str, Any]:
    return {
        "code": error.code,
        "description": error.description,
        "data": shown_payload(error.data),
        "headers": dict(error.headers),
    }


MAX_MEMBERS = 20
"""Limit on the invalid members of a request that are named."""


def _invalid_members(error: ServiceError) -> list[str]:
    """Return `b: Field required` for each member that a typed handler refused."""
    members = []
    for member in error.errors[:MAX_MEMBERS]:
        where = member.get("loc")
        path = ".".join(map(str, where)) if isinstance(where, list) else ""
        members.append(f"{path or 'the payload'}: {member.get('msg', 'invalid')}")
    return members
