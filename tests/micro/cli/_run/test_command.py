"""`micro run`: one process, supervised processes, and reloading."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nats
import nats.errors
import pytest
from nats.aio.client import Client as NatsClient

from micro.cli._flags import Serving
from micro.cli._run.program import Program
from micro.testing import NatsServer, free_port, nats_server

from ..conftest import PROGRAM, Cli, Running

SET_UP = "app:setup is set up"
FINISHED = "app:setup has stopped"


def pids(cli: Cli, count: int) -> set[str]:
    """Send requests until `count` processes of the queue group have answered."""
    return set(asyncio.run(_pids(cli.environ["NATS_URL"], count)))


async def _pids(url: str, count: int) -> set[str]:
    pids: set[str] = set()
    async with asyncio.timeout(30), await nats.connect(url) as client:
        while len(pids) < count:
            pids.add((await client.request("pid", timeout=10)).data.decode())
    return pids


def ready(running: Running, count: int) -> list[str]:
    """Wait until `count` workers are ready, and return their process ids."""
    lines = [running.line("is ready") for _ in range(count)]
    return [re.findall(r"worker (\d+) is ready", line)[0] for line in lines]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_program_runs_until_a_signal(cli: Cli, number: signal.Signals) -> None:
    running = cli.start("run", "app:setup")
    running.line(SET_UP)

    assert running.stop(number) == 0
    running.line(FINISHED)


def test_a_program_in_uvloop(cli: Cli) -> None:
    (cli.folder / "loop.py").write_text(
        "import asyncio\n"
        "async def setup(ctx):\n"
        "    print(type(asyncio.get_running_loop()).__module__)\n"
        "    ctx.cancel()\n"
    )

    assert cli("run", "loop:setup", "--loop", "uvloop").out == "uvloop\n"
    assert cli("run", "loop:setup").out == "asyncio.unix_events\n"


def test_json_logs(cli: Cli) -> None:
    running = cli.start("run", "app:setup", "--json")
    line = json.loads(running.line(SET_UP))

    assert (line["level"], line["logger"]) == ("info", "micro.run")
    assert running.stop() == 0


def test_endpoints_are_listed_and_requests_logged_on_demand(cli: Cli) -> None:
    running = cli.start("run", "app:setup", "--access-log")
    running.line("micro.run:   add   math.add")
    running.line(SET_UP)
    cli.quick("request", "math.add", "{}")
    cli.quick("request", "echo", "hello")

    running.line("micro.access: math.add: 400 invalid request in ")
    running.line("micro.access: echo: 5 bytes in ")
    assert running.stop() == 0


def test_a_declaration_that_is_refused_is_one_line_and_exit_code_2(cli: Cli) -> None:
    (cli.folder / "bad.py").write_text(
        "async def setup(ctx): await ctx.add_service('a b', '1.0.0')\n"
    )
    done = cli("run", "bad:setup", "--log-level", "error")

    assert (done.code, done.err) == (
        2,
        "micro: invalid service name 'a b': expected letters, digits, '-' or '_'\n",
    )


def test_a_fault_in_the_program_keeps_its_traceback(cli: Cli) -> None:
    (cli.folder / "faulty.py").write_text("import not_there\n")
    done = cli("run", "faulty:setup")

    assert done.code == 1
    assert "faulty.py" in done.err
    assert done.err.endswith("ModuleNotFoundError: No module named 'not_there'\n")


@pytest.mark.parametrize("flags", [(), ("--workers", "1")])
def test_a_failed_setup_shows_the_frames_of_its_author_only(
    cli: Cli, flags: tuple[str, ...]
) -> None:
    (cli.folder / "broken.py").write_text(
        "async def setup(ctx):\n    raise RuntimeError('no database')\n"
    )
    (cli.folder / "unfinished.py").write_text("async def setup(ctx)\n    pass\n")
    raised = cli("run", "broken:setup", "--log-level", "error", *flags)
    unread = cli("run", "unfinished:setup", "--log-level", "error", *flags)

    frames = re.findall(r'File "(.*)", line (\d+)', raised.err)
    assert (raised.code, unread.code) == (1, 1)
    assert frames == [(str(cli.folder / "broken.py"), "2")]
    assert "RuntimeError: no database\n" in raised.err
    assert re.findall(r'File "(.*)", line', unread.err) == [str(cli.folder / "unfinished.py")]


def test_without_a_server_it_ends_or_waits(cli: Cli) -> None:
    port = free_port()
    done = cli("run", "app:setup", "--server", f"127.0.0.1:{port}")
    running = cli.start("run", "app:setup", "--server", f"127.0.0.1:{port}", "--retry")
    running.line("still connecting")
    with nats_server(port=port):
        running.line(SET_UP)

        assert running.stop() == 0
    assert done.code == 1
    assert f"micro: cannot connect to nats://127.0.0.1:{port}: " in done.err


# --- several processes --------------------------------------------------------------------------


@pytest.fixture
def own_server(cli: Cli) -> Iterator[NatsServer]:
    """Run a server without other services."""
    with nats_server() as server:
        cli.environ["NATS_URL"] = server.url
        yield server


@pytest.mark.usefixtures("own_server")
def test_workers_share_the_requests_and_stop_together(cli: Cli) -> None:
    running = cli.start("run", "app:setup", "--workers", "2")
    started = set(ready(running, 2))

    assert pids(cli, 2) == started
    assert running.stop(signal.SIGINT) == 0
    running.line(FINISHED)
    running.line(FINISHED)


@pytest.mark.usefixtures("own_server")
def test_a_worker_that_dies_is_started_again(cli: Cli) -> None:
    running = cli.start("run", "app:setup", "--workers", "2")
    first, second = ready(running, 2)
    os.kill(int(first), signal.SIGKILL)
    running.line(f"worker {first} ended with exit code -9: another one in 0.4 s")
    [third] = ready(running, 1)

    assert pids(cli, 2) == {second, third}
    assert running.stop() == 0


async def test_a_hangup_replaces_the_workers_without_losing_a_request(
    cli: Cli, own_server: NatsServer
) -> None:
    running = cli.start("run", "app:setup", "--workers", "2")
    before = set(await asyncio.to_thread(ready, running, 2))
    async with await nats.connect(own_server.url) as client:
        asking = Asking(client)
        async with asking:
            running.process.send_signal(signal.SIGHUP)
            after = set(await asyncio.to_thread(ready, running, 2))
            await asyncio.to_thread(running.line, FINISHED)  # the first signal came between them

    assert asking.lost == []
    assert asking.answers > 0
    assert after.isdisjoint(before)
    assert await _pids(own_server.url, 2) == after
    assert await asyncio.to_thread(running.stop) == 0


class Asking:
    """Requests without a pause from several callers, during a block."""

    def __init__(self, client: NatsClient) -> None:
        self.answers = 0
        self.lost: list[Exception] = []
        self._client = client
        self._over = False

    async def __aenter__(self) -> None:
        self._callers = [asyncio.create_task(self._ask()) for _ in range(8)]

    async def __aexit__(self, *exc_info: object) -> None:
        self._over = True
        await asyncio.gather(*self._callers)

    async def _ask(self) -> None:
        while not self._over:
            try:
                await self._client.request("echo", b"?", timeout=5)
                self.answers += 1
            except (nats.errors.Error, TimeoutError) as exc:
                self.lost.append(exc)


@pytest.mark.usefixtures("own_server")
def test_a_replacement_that_fails_leaves_the_old_workers(cli: Cli) -> None:
    running = cli.start("run", "app:setup", "--workers", "2")
    before = set(ready(running, 2))
    (cli.folder / "app.py").write_text("raise RuntimeError('a bad day')\n")
    running.process.send_signal(signal.SIGHUP)
    running.line("RuntimeError: a bad day")
    running.line("the new worker failed: the old ones stay")

    assert pids(cli, 2) == before
    assert running.stop() == 0


def test_workers_that_cannot_start_end_it_all(cli: Cli) -> None:
    done = cli("run", "app:none", "--workers", "2")

    assert done.code == 2
    assert "micro: invalid target 'app:none': 'none' is not defined there" in done.err


@pytest.mark.usefixtures("own_server")
def test_workers_do_not_outlive_their_supervisor(cli: Cli) -> None:
    running = cli.start("run", "app:setup", "--workers", "2")
    ready(running, 2)
    running.process.kill()

    running.line(FINISHED)
    running.line(FINISHED)


@pytest.mark.usefixtures("own_server")
def test_a_second_signal_hurries_the_workers(cli: Cli) -> None:
    running = cli.start("run", "app:setup", "--workers", "1")
    ready(running, 1)
    asking = cli.start("request", "slow", "--timeout", "60")
    running.line("slow began")
    running.process.send_signal(signal.SIGTERM)
    running.line("SIGTERM: stopping")
    running.process.send_signal(signal.SIGTERM)
    running.line("SIGTERM again")

    assert running.wait(within=20) == 0
    asking.line("service error 503")


def test_a_secret_given_as_a_flag_is_not_passed_on_in_the_arguments(cli: Cli) -> None:
    with nats_server(config='authorization { user: me, password: "s3cr3t" }') as server:
        running = cli.start(
            *("run", "app:setup", "--workers", "1", "--server", server.url),
            *("--user", "me", "--password", "s3cr3t"),
        )
        [worker] = ready(running, 1)
        arguments = Path(f"/proc/{worker}/cmdline").read_bytes()

        assert running.stop() == 0
    assert b"micro.cli._run.worker" in arguments
    assert b"s3cr3t" not in arguments


def test_a_program_does_not_show_its_secrets() -> None:
    connection = Serving(server="nats://u:s3cr3t@h", user="s3cr3t", password="s3cr3t")
    program = Program("app:setup", connection)

    assert "s3cr3t" not in repr(program)
    assert Program.from_json(program.to_json()) == program


@pytest.mark.usefixtures("own_server")
def test_a_changed_source_file_is_reloaded_once_it_works(cli: Cli) -> None:
    source = cli.folder / "app.py"
    source.write_text("raise RuntimeError('not yet')\n")
    running = cli.start("run", "app:setup", "--reload")
    running.line("failed with exit code 1")
    source.write_text(PROGRAM)
    ready(running, 1)
    source.write_text(PROGRAM.replace("1.2.3", "1.2.4"))
    ready(running, 1)
    running.line(FINISHED)
    [service] = cli.quick("ls", "--json").json

    assert service["version"] == "1.2.4"
    assert running.stop() == 0


def test_health_over_http(cli: Cli) -> None:
    running = cli.start("run", "app:setup", "--health", "127.0.0.1:0")
    line = running.line("health at http://127.0.0.1:")
    running.line("is set up")
    url = re.search(r"http://\S+", line)
    assert url is not None

    for path, checks in (
        ("healthz", {"loop", "threads"}),
        ("readyz", {"nats", "services", "setup"}),
    ):
        with urllib.request.urlopen(url[0].replace("healthz", path), timeout=60) as answer:
            body = json.loads(answer.read())
            assert (answer.status, body["status"]) == (200, "ok")
            assert body["checks"] == dict.fromkeys(checks, "ok")
    assert running.stop() == 0


@pytest.mark.parametrize("other", [("--workers", "2"), ("--reload",)])
def test_health_is_for_a_single_process(cli: Cli, other: tuple[str, ...]) -> None:
    done = cli.quick("run", "app:setup", "--health", ":8080", *other)

    expected = "micro: --health is for a single process: no --workers, no --reload\n"
    assert (done.code, done.err) == (2, expected)
