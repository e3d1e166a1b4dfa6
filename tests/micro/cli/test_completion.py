"""Completion in real shells, behind the characters at which bash divides words, too."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ...interop.conftest import locked, unavailable
from .conftest import Cli, Running

pytestmark = pytest.mark.usefixtures("service")

SECONDS = 60
SHELLS = {
    "bash": ("bash", "--norc", "--noprofile", "-i"),
    "zsh": ("zsh", "-f", "-i"),
    "fish": ("fish", "--no-config", "-i"),
}
BEFORE = {"bash": "", "zsh": "autoload -Uz compinit; compinit -u\n", "fish": ""}


@pytest.fixture(scope="module")
def shells() -> None:
    """Install the shells that CI needs."""
    missing = [name for name in SHELLS if shutil.which(name) is None]
    if missing and os.environ.get("INTEROP_REQUIRED") == "1" and os.geteuid() == 0:
        with locked(Path.home() / ".cache/natsmicro/shells.lock"):
            for command in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
                subprocess.run(["apt-get", "-qq", *command], check=True, capture_output=True)


class Shell:
    """An interactive shell in a terminal."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def wait_for(self, text: str) -> None:
        """Wait until the terminal has shown a text since the last one that was waited for."""
        end = time.monotonic() + SECONDS
        while text not in self.shown:
            assert time.monotonic() < end, f"no {text!r} in {self.shown!r}"
            if select.select([self._terminal], [], [], 1)[0]:
                self.shown += os.read(self._terminal, 65536).decode(errors="replace")
        self.shown = self.shown.partition(text)[2]


@contextlib.contextmanager
def shell(name: str, cli: Cli) -> Iterator[Shell]:
    if shutil.which(name) is None:
        unavailable(f"no {name}: apt-get install {name}")
    source = cli(_MICRO_COMPLETE=f"source_{name}").out
    (cli.folder / "completion").write_text(BEFORE[name] + source)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ours, theirs = pty.openpty()
    # The first terminal that the leader of a session opens controls it, as fish needs.
    process = subprocess.Popen(
        ("sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1', os.ttyname(theirs), *SHELLS[name]),
        cwd=cli.folder,
        env={**cli.environ, "PATH": path, "TERM": "dumb", "PS1": "$ "},
        start_new_session=True,
    )
    try:
        shell = Shell(ours)
        shell.type(". ./completion; echo re''ady\n")
        shell.wait_for("ready")
        yield shell
    finally:
        process.kill()
        process.wait()
        os.close(theirs)
        os.close(ours)


@pytest.mark.parametrize("name", SHELLS)
def test_a_word_with_colons_is_completed(name: str, cli: Cli, shells: None) -> None:
    with shell(name, cli) as terminal:
        terminal.type("micro run app:se\t")
        terminal.wait_for("app:se")
        terminal.wait_for("tup")
        terminal.type(f"\x15micro request --server {cli.environ['NATS_URL']} math.a\t")
        terminal.wait_for("math.a")
        terminal.wait_for("dd")


def test_setup_functions_of_packages_are_completed(cli: Cli, service: Running) -> None:
    for folder in ("shop", "src/prices"):
        (cli.folder / folder).mkdir(parents=True)
        (cli.folder / folder / "service.py").write_text("async def setup(ctx): ...\n")
    done = cli(_MICRO_COMPLETE="complete_bash", COMP_WORDS="micro\nrun\n", COMP_CWORD="2")

    assert done.out.split() == ["app:setup", "prices.service:setup", "shop.service:setup"]
