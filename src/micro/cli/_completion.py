"""Words for the completion of a shell: services, endpoints, subjects, setup functions."""

from __future__ import annotations

import ast
import asyncio
import io
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import nats.errors
import typer

from micro._errors import MicroError
from micro._protocol.models import ServiceInfo
from micro._protocol.subjects import DEFAULT_API_PREFIX
from micro.cli._flags import Discovery

WAIT = 0.3
"""Seconds that the completion of a shell waits for services."""

MAX_FILES = 200
"""Limit on the Python files that are searched for setup functions."""


_BREAKS = frozenset(":=@")
"""Characters at which bash divides a word of the line (COMP_WORDBREAKS)."""


@contextmanager
def words_of_bash(environ: MutableMapping[str, str]) -> Iterator[None]:
    """Join the words that bash has divided at `:`, `=` and `@`, and print only what bash lacks.

    The server `nats://a:4222` and the program `app:setup` are words of typer, but several words of
    bash, which replaces the last one of them.
    """
    before = _join(environ) if environ.get("_MICRO_COMPLETE") == "complete_bash" else ""
    if not before:
        yield
        return
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        for line in printed.getvalue().splitlines():
            typer.echo(line.removeprefix(before))


def _join(environ: MutableMapping[str, str]) -> str:
    """Join the words in the variables for completion; return what is in front of the last one."""
    line = environ.get("COMP_WORDS", "")
    words = line.split("\n" if "\n" in line else " ")[: int(environ.get("COMP_CWORD", "0")) + 1]
    joined: list[str] = []
    before, adjoins = "", False
    for word in words:
        divides = word != "" and _BREAKS.issuperset(word)
        if joined and word and (divides or adjoins):
            before = joined[-1] + word if divides else joined[-1]
            joined[-1] += word
        else:
            before = ""
            joined.append(word)
        adjoins = divides
    environ["COMP_WORDS"] = "\n".join(joined)
    environ["COMP_CWORD"] = str(len(joined) - 1)
    return before


def complete_name(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of running services."""
    return _starting(incomplete, (info.name for info in _running(context)))


def complete_endpoint(context: typer.Context, incomplete: str) -> list[str]:
    """Return the endpoints of a service that was named before, by argument or `--service`."""
    service = context.params.get("service")
    names = (end.name for info in _running(context, service) for end in info.endpoints)
    return _starting(incomplete, names)


def complete_target(context: typer.Context, incomplete: str) -> list[str]:
    """Return subjects without wildcards, or the endpoints of `--service`."""
    if context.params.get("service") is not None:
        return complete_endpoint(context, incomplete)
    subjects = (end.subject for info in _running(context) for end in info.endpoints)
    return _starting(incomplete, (each for each in subjects if "*" not in each and ">" not in each))


def complete_setup(incomplete: str) -> list[str]:
    """Return `MODULE:SETUP` of the async functions in Python files of this folder and packages."""
    files = sorted({*Path().glob("*.py"), *Path().glob("[!.]*/*.py"), *Path().glob("src/*/*.py")})
    names = (name for path in files[:MAX_FILES] for name in _setups(path))
    return _starting(incomplete, names)


def _setups(path: Path) -> Iterable[str]:
    try:
        module = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in module.body:
        if isinstance(node, ast.AsyncFunctionDef) and node.args.args:
            first = node.args.args[0]
            kind = "" if first.annotation is None else ast.unparse(first.annotation)
            if kind.endswith("Context") or (not kind and first.arg in ("ctx", "context")):
                yield f"{'.'.join(path.with_suffix('').parts).removeprefix('src.')}:{node.name}"


def _running(context: typer.Context, service: str | None = None) -> list[ServiceInfo]:
    given = {name: context.params.get(name) for name in ("server", "user", "password", "creds")}
    given |= {name: context.params.get(name) for name in ("nkey", "context")}
    prefix = context.params.get("prefix") or DEFAULT_API_PREFIX
    connection = Discovery(**given, timeout=WAIT, prefix=prefix)

    async def ask() -> list[ServiceInfo]:
        async with connection.open() as link:
            return await link.client.info(service)

    try:
        return asyncio.run(ask())
    except (MicroError, nats.errors.Error, OSError):
        return []


def _starting(incomplete: str, words: Iterable[str]) -> list[str]:
    return sorted({word for word in words if word.startswith(incomplete)})
