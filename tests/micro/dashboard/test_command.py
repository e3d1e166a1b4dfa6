"""`micro dashboard`: its start, end and errors."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest
from typer.testing import Result

from micro.cli._app import app
from micro.testing import nats_server

from ..cli.conftest import make_runner
from .conftest import COMMAND, clean_environment


def run(*arguments: str) -> Result:
    removed = {name: None for name in os.environ if name.startswith(("NATS_", "XDG_"))}
    return make_runner().invoke(app, ["dashboard", "--port=0", *arguments], env=removed)


def test_a_port_in_use_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(f"--port={port}")

    assert done.exit_code == 1
    assert done.stderr.startswith(f"micro: cannot listen on 127.0.0.1:{port}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_stops_it(number: signal.Signals, code: int) -> None:
    process = subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment()
    )
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    with httpx.Client(trust_env=False) as open_page:
        open_page.get(f"{url}api/state")
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)

    assert process.returncode == code
    assert errors == ""


def test_a_server_that_refuses_us_ends_it() -> None:
    with nats_server(config="authorization { token: secret }") as server:
        done = run(f"--server={server.url}")

    assert done.exit_code == 1
    assert "refused the connection" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_says_where_it_is_and_who_may_come() -> None:
    with nats_server(config="authorization { token: secret }") as server:
        for host, others in (("127.0.0.1", 0), ("localhost", 0), ("0.0.0.0", 1)):
            done = run(f"--server={server.url}", f"--host={host}")
            assert done.stderr.startswith(f"dashboard on http://{host}:")
            assert (
                done.stderr.count("everyone who reaches this address can send requests") == others
            )


def test_without_its_extra_the_command_names_it() -> None:
    program = (
        "import sys; from micro.cli._app import app; assert 'uvicorn' not in sys.modules; "
        "sys.modules['uvicorn'] = None; app(['dashboard'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 2
    assert done.stderr == (
        "micro: the dashboard needs the extra 'dashboard': pip install 'natsmicro[dashboard]'\n"
    )


@pytest.mark.parametrize("arguments", [["--interval=0"], ["--port=70000"]])
def test_wrong_settings_are_refused(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2
