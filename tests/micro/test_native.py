"""The choice of the accelerator, by what is installed and by `MICRO_NATIVE`."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import _native
from micro._wire.paths import PublicPath

PROGRAM = """
import logging, sys
form = "%(levelname)s %(name)s %(message)s"
logging.basicConfig(level=sys.argv[1], format=form, stream=sys.stdout)
import micro
from micro._wire import fast_transport, frames
from nats.aio.client import Client
print(frames.FrameSplitter.__module__)
try:
    fast_transport.install(Client(), ["nats://127.0.0.1:4222"])
except micro.ConfigError as error:
    print(error)
"""


def run(folder: Path, *, level: str = "INFO", native: str | None = None) -> list[str]:
    """Run the program, with modules of a folder before installed ones."""
    variables = {key: value for key, value in os.environ.items() if key != _native.VARIABLE}
    variables |= {"PYTHONPATH": str(folder)} | ({} if native is None else {"MICRO_NATIVE": native})
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, level],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_zero_turns_the_accelerator_off(tmp_path: Path) -> None:
    lines = run(tmp_path, level="DEBUG", native="0")

    assert lines[:2] == [
        "DEBUG micro.native the wire runs in Python: MICRO_NATIVE is 0",
        "micro._wire.frames",
    ]


def test_another_version_is_refused_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "natsmicro_native.py").write_text("__version__ = '7.0.1'")
    refusal = "Python: natsmicro-native is 7.0.1, expected 0.1.*"

    assert run(tmp_path) == [
        f"WARNING micro.native the wire runs in {refusal}",
        "micro._wire.frames",
    ]
    assert run(tmp_path, native="1")[-1] == (
        f"MICRO_NATIVE=1 is impossible: the wire runs in {refusal}"
    )


def test_one_that_cannot_be_loaded_is_refused_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "natsmicro_native.py").write_text("raise ImportError('wrong machine')")

    assert run(tmp_path) == [
        "WARNING micro.native the wire runs in Python: "
        "natsmicro-native cannot be loaded: wrong machine",
        "micro._wire.frames",
    ]


def test_without_it_python_runs_and_only_a_debug_line_says_so(tmp_path: Path) -> None:
    (tmp_path / "natsmicro_native.py").write_text("raise ModuleNotFoundError")
    absent = "the wire runs in Python: natsmicro-native is not installed"

    assert run(tmp_path) == ["micro._wire.frames"]
    assert run(tmp_path, level="DEBUG")[0] == f"DEBUG micro.native {absent}"
    assert run(tmp_path, native="1")[-1] == f"MICRO_NATIVE=1 is impossible: {absent}"


@pytest.mark.skipif(find_spec("natsmicro_native") is None, reason="natsmicro-native is not built")
def test_it_is_taken_where_it_is_installed(tmp_path: Path) -> None:
    assert run(tmp_path) == ["natsmicro_native"]
    assert run(tmp_path, native="1") == ["natsmicro_native"]


async def test_another_value_is_an_error_of_each_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_native.VARIABLE, "yes")
    with pytest.raises(micro.ConfigError) as raised:
        PublicPath(NatsClient())
    assert str(raised.value) == "invalid MICRO_NATIVE 'yes': expected '0', '1' or nothing"
