"""`micro new`: a small project with a service, its client, tests and files for its deployment."""

from __future__ import annotations

import json
import keyword
import re
import shlex
import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer

from micro._version import __version__
from micro.cli._flags import Json
from micro.cli._output import Exit, fail, print_json

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")


def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The service, and the folder: shop, price-list.")
    ],
    folder: Annotated[
        Path | None,
        typer.Option("--folder", metavar="DIR", help="Another folder than NAME.", file_okay=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a small project: a service, its typed client, tests, a Dockerfile, and CI.

    The folder must be new or empty. Its README says how to run the tests and the service.

    Examples:
      micro new shop
      micro new price-list --folder services/prices
    """
    if _NAME.fullmatch(name) is None:
        message = f"invalid name {name!r}: expected small letters, digits and single '-' or '_'"
        fail(message, Exit.USAGE, as_json=as_json)
    target = Path(name) if folder is None else folder
    package = name.replace("-", "_")
    if keyword.iskeyword(package) or package in {"micro", *sys.stdlib_module_names}:
        message = f"invalid name {name!r}: expected one that is no module or keyword of Python"
        fail(message, Exit.USAGE, as_json=as_json)
    values = {"PACKAGE": package, "NAME": name, "VERSION": __version__}
    try:
        if target.exists() and any(target.iterdir()):
            fail(f"folder {str(target)!r} is not empty", Exit.USAGE, as_json=as_json)
        written = sorted(_write(files("micro.cli._new") / "template", target, values))
    except OSError as error:
        reason = f"cannot write {str(target)!r}: {error.strerror}"
        fail(reason, Exit.FAILED, as_json=as_json)
    if as_json:
        print_json({"folder": str(target), "files": [str(path) for path in written]})
        return
    for path in written:
        typer.echo(f"  {path}")
    typer.echo("\nNext:", err=True)
    for command in _next_commands(target):
        typer.echo(f"  {command}", err=True)


def _next_commands(target: Path) -> list[str]:
    """Return the commands that run the tests of a new project."""
    commands = [f"cd {shlex.quote(str(target))}"]
    origin = _origin()
    if origin is not None:
        commands.append(f"pip wheel --no-deps --wheel-dir wheels {shlex.quote(origin)}")
    return [*commands, "pip install --find-links wheels -e '.[test]'", "pytest"]


def _origin() -> str | None:
    """Return the address that natsmicro was installed from; None if from a package index."""
    try:
        direct = distribution("natsmicro").read_text("direct_url.json")  # PEP 610
    except PackageNotFoundError:
        return None
    return None if direct is None else str(json.loads(direct)["url"])


def _write(source: Traversable, target: Path, values: dict[str, str]) -> list[Path]:
    """Copy a folder of templates, with values in names and texts, and return its files."""
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for entry in source.iterdir():
        path = target / _filled(entry.name, values).removesuffix(".txt")
        if entry.is_dir():
            written += _write(entry, path, values)
        else:
            path.write_text(_filled(entry.read_text(encoding="utf-8"), values), encoding="utf-8")
            written.append(path)
    return written


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"__{name}__", value)
    return text
