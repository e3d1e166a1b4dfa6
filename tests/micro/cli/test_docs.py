"""Every console sample in the manual of the command prints its documented output."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from typer.main import get_group

from micro.cli._app import app
from micro.cli._flags import Connection
from micro.testing import nats_server

from .conftest import Cli

ROOT = Path(__file__).parents[3]
MANUAL = (ROOT / "docs/cli.md").read_text()
SAMPLES = re.findall(r"```console\n\$ micro (.*)\n([^`]*)```", MANUAL)


@pytest.fixture(scope="module")
def manual(
    make_cli: Callable[[Path, dict[str, str]], Cli], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cli]:
    """Run the example of the manual."""
    with nats_server() as server:
        folder = tmp_path_factory.mktemp("manual")
        cli = make_cli(folder, {"NATS_URL": server.url, "PYTHONPATH": str(ROOT / "examples")})
        running = cli.start("run", "echo:setup", "--workers", "1")
        running.line("is ready")
        yield cli
        running.stop()


def normal(text: str) -> list[list[str]]:
    """Remove numbers, times, ids and the width of columns, which differ from run to run."""
    text = re.sub(r"\b[A-Za-z0-9]{22}\b", "ID", text)
    text = re.sub(r"\d[\d.,]*( [mu]?s\b)?", "0", text)
    lines = (line for line in text.splitlines() if " native: " not in line)  # as installed
    return [line.split() for line in lines if line.strip()]


@pytest.mark.parametrize(("command", "expected"), SAMPLES, ids=[s[0] for s in SAMPLES])
def test_a_sample_prints_what_the_manual_says(manual: Cli, command: str, expected: str) -> None:
    done = manual.quick(*shlex.split(command))

    assert normal(done.out + done.err) == normal(expected)


def test_the_manual_lists_all_commands_with_their_own_flags() -> None:
    rows = re.findall(r"^\| `([a-z]+)[^`]*` \| (.*) \|$", MANUAL, re.MULTILINE)
    listed = {name: set(re.findall(r"`(--[\w-]+)`", flags)) for name, flags in rows}
    shared = {f"--{each.name}" for each in fields(Connection)} | {"--help"}
    own = {
        name: {max(each.opts, key=len) for each in command.params if each.opts[0].startswith("-")}
        - shared
        for name, command in get_group(app).commands.items()
    }
    services = {name: own.pop(name) for name in ("registry", "etcd")}

    assert all(listed.pop(name) <= flags for name, flags in services.items())
    assert listed == own


def test_there_are_samples() -> None:
    assert len(SAMPLES) == 8
