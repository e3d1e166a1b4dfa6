"""Words for the completion of a shell: services, endpoints, subjects, setup functions."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterable
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
"""Limit on the Python files of a folder that are searched for setup functions."""


def complete_name(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of running services."""
    return _starting(incomplete, (info.name for info in _running(context)))


def complete_endpoint(context: typer.Context, incomplete: str) -> list[str]:
    """Return the endpoints of a service that was named before, by argument or `--service`."""
    service = context.params.get("service")
    found = (end.name for info in _running(context, service) for end in info.endpoints)
    return _starting(incomplete, found)


def complete_target(context: typer.Context, incomplete: str) -> list[str]:
    """Return subjects without wildcards, or the endpoints of `--service`."""
    if context.params.get("service") is not None:
        return complete_endpoint(context, incomplete)
    subjects = (end.subject for info in _running(context) for end in info.endpoints)
    return _starting(incomplete, (each for each in subjects if "*" not in each and ">" not in each))


def complete_setup(incomplete: str) -> list[str]:
    """Return `MODULE:SETUP` of the async functions in Python files of the current folder."""
    names = (name for path in sorted(Path().glob("*.py"))[:MAX_FILES] for name in _setups(path))
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
                yield f"{path.stem}:{node.name}"


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
