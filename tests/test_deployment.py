"""The files in `deploy` are valid, run programs that exist, and give them time to stop."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from micro._program.stopping import GRACE
from micro.cli._app import app

DEPLOY = Path(__file__).parents[1] / "deploy"


def unit() -> ConfigParser:
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]  # the names of systemd have capitals
    parser.read(DEPLOY / "shop.service")
    return parser


def is_understood(command: list[str]) -> bool:
    """Return whether the options of `micro run` exist; the help is all that is asked for."""
    return CliRunner().invoke(app, ["run", *command, "--help"]).exit_code == 0


def test_options_of_the_commands_exist() -> None:
    service = shlex.split(unit()["Service"]["ExecStart"])
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["shop"]["command"]

    assert service[1:3] == compose[1:3] == ["run", "app:setup"]
    assert is_understood(service[3:])
    assert is_understood(compose[3:])
    assert not is_understood(["--no-such-option"])


def test_stop_has_more_time_than_the_grace_time() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())

    assert int(unit()["Service"]["TimeoutStopSec"]) > GRACE + 2
    assert int(compose["services"]["shop"]["stop_grace_period"].removesuffix("s")) > GRACE + 2


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "shop.service").read_text()
    file = tmp_path / "shop.service"
    file.write_text(text.replace("/opt/shop/.venv/bin/micro", sys.executable))
    command = ["systemd-analyze", "verify", str(file)]

    process = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (process.returncode, process.stderr) == (0, "")
