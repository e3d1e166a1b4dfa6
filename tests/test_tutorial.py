"""The commands of the tutorial print what its pages say that one sees."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from micro.cli._app import app
from micro.testing import nats_server

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs/tutorial").glob("*.md"))]
START = re.compile(r"python (?:examples/)?\w+\.py|micro run \w[\w.]*:\w+")
SHOWN = re.compile(r"^```sh\n([^`]*)^```\n[^`#]*^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def shown_commands() -> list[tuple[Path, str, list[str], str]]:
    """Return page, program, commands and output of each block of commands with an output."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in SHOWN.finditer(text):
            lines = [line.partition("   #")[0].strip() for line in match[1].splitlines()]
            # A program that prints by itself is a test of examples.
            if all(line.startswith("micro request") or line == "micro ls" for line in lines):
                program = [each[0] for each in START.finditer(text, 0, match.start())][-1]
                found.append((page, program, lines, match[2]))
    return found


@contextmanager
def program(command: str, url: str, folder: Path) -> Iterator[None]:
    """Run a program of a page until the end of the block, once it is set up."""
    name, *arguments = command.split()
    module = ["-m", "micro.cli", *arguments]
    script = [str(EXAMPLES / Path(arguments[0]).name)]
    process = subprocess.Popen(
        [sys.executable, *(module if name == "micro" else script)],
        cwd=folder,
        env={**os.environ, "NATS_URL": url, "PYTHONPATH": str(EXAMPLES)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    with process.stderr as lines:
        try:
            assert any("Ctrl-C stops it" in line for line in lines), command
            yield
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("page", "start", "commands", "output"),
    shown_commands(),
    ids=lambda value: value.stem if isinstance(value, Path) else "",
)
def test_commands_print_what_the_page_says(
    page: Path, start: str, commands: list[str], output: str, tmp_path: Path
) -> None:
    printed = []
    with nats_server(jetstream=True) as server, program(start, server.url, tmp_path):
        for command in commands:
            _, *arguments = shlex.split(command)
            done = CliRunner().invoke(app, arguments, env={"NATS_URL": server.url})
            printed += [line.rstrip() for line in done.output.splitlines()] or [""]
    assert printed == output.splitlines()


def test_pages_with_programs_of_services_show_what_one_sees() -> None:
    without = {"background-work", "discovery", "limits", "stopping", "testing", "typed-calls"}
    shown = {page.stem for page, *_ in shown_commands()}
    programs = {page.stem for page in PAGES if 'title="examples/' in page.read_text()}
    assert programs - shown - without == {"errors"}  # one program has the service and its caller
