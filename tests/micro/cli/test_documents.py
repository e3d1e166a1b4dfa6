"""Documents that the command writes of running services."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from .conftest import Cli

pytestmark = pytest.mark.usefixtures("service")


def test_client_is_generated_to_a_file(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "echo_client.py"
    written = cli("generate", "client", "echo", "--out", str(path))
    shown = cli.quick("generate", "client", "echo")

    assert (written.code, written.out) == (0, "")
    assert shown.out == path.read_text()
    spec = importlib.util.spec_from_file_location("echo_client", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.Echo.add.__annotations__ == {"payload": "Pair", "return": "int"}


def test_client_of_an_absent_service_is_an_error(cli: Cli, tmp_path: Path) -> None:
    done = cli.quick("generate", "client", "nobody", "--timeout", "0.2")
    assert (done.code, done.out) == (3, "")
    done = cli.quick("generate", "client", "echo", "--out", str(tmp_path / "a" / "b"))
    assert (done.code, done.err) == (
        2,
        f"micro: cannot write '{tmp_path / 'a' / 'b'}': No such file or directory\n",
    )
