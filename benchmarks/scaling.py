"""What one more request, instance, endpoint or hop costs the services and nats-server.

Run: python benchmarks/scaling.py [--rounds 5] [--seconds 0.5]
Takes a few minutes; docs/scaling.md says what follows from it. Needs Linux and a C compiler.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median
from urllib.parse import urlparse

import discovery
import kit

import micro
from micro import options
from micro.testing import NatsServer, free_port

OURS = [kit.OWN, str(kit.PEERS / "ours.py")]
SUBJECT = "bench.scaling"
WINDOWS = (1, 64, 512)
SIMULATED = ((1000, 1000), (1000, 1), (10_000, 1))
"""Instances and the connections they have together."""
MANY = 1000
DISCOVERY = [f"$SRV.{verb}{rest}" for verb in discovery.VERBS for rest in ("", ".idle", ".idle.{}")]
"""What an instance subscribes to beside its endpoints."""

NODE = """
server_name: n{port}
cluster {{ name: bench, listen: "127.0.0.1:{port}", routes: [{routes}] }}
"""
HUB = 'leafnodes {{ listen: "127.0.0.1:{port}" }}'
LEAF = 'leafnodes {{ remotes: [{{ url: "nats-leaf://127.0.0.1:{port}" }}] }}'
ACCOUNTS = """
accounts {
  SHOP { users: [{user: shop, password: shop}], exports: [{service: "bench.>"}] }
  CALLERS { users: [{user: caller, password: caller}]
            imports: [{service: {account: SHOP, subject: "bench.>"}}] }
}
no_auth_user: caller
"""


class Way:
    """The servers that a request passes, the caller's first, and the instances at the last one."""

    def __init__(self, stack: ExitStack, configs: Sequence[str | None], user: str = "") -> None:
        self._stack = stack
        self._servers = [stack.enter_context(kit.server(config)) for config in configs]
        self._url = f"nats://{user}127.0.0.1:{self._servers[-1].port}"
        self._instances: list[int] = []

    def serve(self, count: int = 1) -> "Way":
        """Add instances, and wait until the caller reaches them."""
        for _ in range(count):
            command = [*OURS, self._url, SUBJECT, "echo"]
            self._instances.append(self._stack.enter_context(kit.process(command)).pid)
        asyncio.run(discovered(self._url, len(self._instances)))
        kit.wait_for_answer(self._servers[0].port, SUBJECT)
        return self

    def measure(self, window: int, seconds: float) -> dict[str, float]:
        """Return CPU microseconds per request, of all services and of all servers."""
        before = self._used()
        command = [kit.compiled("load"), str(self._servers[0].port), SUBJECT]
        command += [str(seconds), str(window), "64", "0"]
        done = subprocess.run(
            kit.pinned(kit.LOAD_CORE, command), capture_output=True, text=True, check=True
        )
        time.sleep(0.05)
        found = json.loads(done.stdout)
        service, servers = (
            (now - then) / max(found["all_answers"], 1) * 1e6
            for then, now in zip(before, self._used(), strict=True)
        )
        return {"service_us": service, "server_us": servers, "p50_us": found["p50_us"]}

    def _used(self) -> tuple[float, float]:
        servers = [server.process.pid for server in self._servers]
        return sum(map(kit.cpu_seconds, self._instances)), sum(map(kit.cpu_seconds, servers))


async def discovered(url: str, count: int) -> None:
    async with micro.Context() as context, asyncio.timeout(20):
        await context.connect(options.servers(url))
        client = micro.Client(context.client)
        while len(await client.ping(max_wait=1, max_count=count)) < count:
            pass


def ways(stack: ExitStack) -> dict[str, Way]:
    """Start all that requests are sent through."""
    one, other, leaf = free_port(), free_port(), free_port()
    routes = f'"nats://127.0.0.1:{one}", "nats://127.0.0.1:{other}"'
    nodes = [NODE.format(port=port, routes=routes) for port in (one, other)]
    return {
        "one server": Way(stack, [None]).serve(),
        "one server, 4 instances": Way(stack, [None]).serve(4),
        "another account (service import)": Way(stack, [ACCOUNTS], "shop:shop@").serve(),
        "another node of the cluster": Way(stack, nodes).serve(),
        "a leaf node": Way(stack, [HUB.format(port=leaf), LEAF.format(port=leaf)]).serve(),
    }


def requests(count: int, seconds: float) -> None:
    found: dict[int, kit.Results] = {window: {} for window in WINDOWS}
    with ExitStack() as stack:
        started = ways(stack)
        for window in WINDOWS:
            for number, name in kit.rounds(list(started), count):
                found[window][number, name] = started[name].measure(window, seconds)
    kit.table(
        f"CPU us per request of 64 B: services / all servers (median of {count} rounds)",
        ["caller to service", *(f"window {window}" for window in WINDOWS), "p50 us at 1"],
        [
            [
                name,
                *(
                    " / ".join(
                        f"{kit.value(found[window], name, key):.1f}"
                        for key in ("service_us", "server_us")
                    )
                    for window in WINDOWS
                ),
                kit.value(found[1], name, "p50_us"),
            ]
            for name in started
        ],
    )  # fmt: skip


class Instance(asyncio.Protocol):
    """An instance with a connection of its own, which answers discovery."""

    def __init__(self, number: int) -> None:
        self._answers = {verb.encode(): discovery.body(verb, number) for verb in discovery.VERBS}
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b'CONNECT {"verbose":false}\r\n')
        for sid, verb in enumerate(self._answers):
            transport.write(b"SUB $SRV.%b %d\r\n" % (verb, sid))

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        for words in map(bytes.split, lines):
            if words[:1] == [b"PING"]:
                self._transport.write(b"PONG\r\n")
            elif words[:1] == [b"MSG"]:
                answer = self._answers[words[1].removeprefix(b"$SRV.")]
                self._transport.write(b"PUB %b %d\r\n%b\r\n" % (words[3], len(answer), answer))


async def respond(url: str, instances: int, connections: int) -> None:
    """Answer discovery as so many instances, on one connection or on one each."""
    if connections == 1:
        await discovery.respond(url, instances)
        return
    loop, where = asyncio.get_running_loop(), urlparse(url)
    for number in range(instances):
        await loop.create_connection(partial(Instance, number), where.hostname, where.port)
    await asyncio.Event().wait()


async def gather(server: NatsServer, verb: str, count: int) -> dict[str, float]:
    """Return what gathering all answers costs."""
    async with micro.Context() as context:
        await context.connect(options.servers(server.url))
        client = micro.Client(context.client)
        ask = {"PING": client.ping, "INFO": client.info, "STATS": client.stats}[verb]
        served = kit.cpu_seconds(server.process.pid)
        began, used = time.perf_counter(), time.process_time()
        found = await ask(max_wait=20, max_count=count)
        took, cpu = time.perf_counter() - began, time.process_time() - used
        assert len({instance.id for instance in found}) == count
    served = kit.cpu_seconds(server.process.pid) - served
    return {"ms": took * 1e3, "client_ms": cpu * 1e3, "server_ms": served * 1e3}


def discoveries(count: int) -> None:
    rows = []
    for instances, connections in SIMULATED:
        results: kit.Results = {}
        numbers = [str(instances), str(connections)]
        command = [sys.executable, __file__, "--respond", *numbers]
        with (
            kit.server() as server,
            kit.process([*command, server.url], core=kit.LOAD_CORE),
        ):
            asyncio.run(discovered(server.url, instances))
            for number, verb in kit.rounds(discovery.VERBS, count):
                results[number, verb] = asyncio.run(gather(server, verb, instances))
        for verb in discovery.VERBS:
            size = sum(len(discovery.body(verb, i)) for i in range(instances)) / 1e6
            times = (kit.value(results, verb, key) for key in ("ms", "client_ms", "server_ms"))
            cells = [f"{instances:,}", f"{connections:,}", verb]
            rows.append([*cells, *(f"{time:.0f}" for time in times), f"{size:.1f}"])
    kit.table(
        f"Discovery of simulated instances (median of {count} rounds)",
        [
            "instances",
            "connections",
            "verb",
            "ms until all are read",
            "client CPU ms",
            "server CPU ms",
            "MB",
        ],
        rows,
    )  # fmt: skip


def idle(server: NatsServer, number: int) -> socket.socket:
    """Connect what looks to the server like an instance with one endpoint."""
    link = socket.create_connection(("127.0.0.1", server.port))
    subjects = [f"idle.{number % 10} q", *(subject.format(number) for subject in DISCOVERY)]
    lines = "".join(f"SUB {subject} {sid}\r\n" for sid, subject in enumerate(subjects, 1))
    link.sendall(f'CONNECT {{"verbose":false}}\r\n{lines}PING\r\n'.encode())
    received = b""
    while b"PONG\r\n" not in received:
        received += link.recv(65536)
    return link


@contextmanager
def endpoints(server: NatsServer, count: int) -> Iterator[int]:
    """Run a service with so many endpoints; yields its process id."""
    command = [kit.OWN, str(kit.PEERS / "endpoints.py"), server.url, "ours", str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def memory(count: int) -> None:
    """Print what endpoints and instances take, at servers that have just started."""
    found: dict[str, list[tuple[float, float]]] = {"endpoint": [], "instance": []}
    for _ in range(count):
        with kit.server() as server:
            served = server.process.pid
            with endpoints(server, 1) as pid:
                one = kit.memory_kib(pid)
            before = kit.memory_kib(served)
            with endpoints(server, MANY) as pid:
                of_service = (kit.memory_kib(pid) - one) / (MANY - 1)
                found["endpoint"].append((of_service, (kit.memory_kib(served) - before) / MANY))
        with kit.server() as server, ExitStack() as links:
            before = kit.memory_kib(server.process.pid)
            for number in range(MANY):
                links.enter_context(idle(server, number))
            grown = (kit.memory_kib(server.process.pid) - before) / MANY
            found["instance"].append((one, grown))
    kit.table(
        f"Resident KiB for one more (median of {count} rounds, {MANY:,} of each)",
        ["one more", "in the service", "in nats-server"],
        [
            [name, *(f"{median(column):.0f}" for column in zip(*pairs, strict=True))]
            for name, pairs in found.items()
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--respond", nargs=3, default=None)
    given = parser.parse_args()
    if given.respond is not None:
        instances, connections, url = given.respond
        asyncio.run(respond(url, int(instances), int(connections)))
        return
    print("load average before:", *os.getloadavg())
    requests(given.rounds, given.seconds)
    discoveries(given.rounds)
    memory(given.rounds)
    print("\nload average after:", *os.getloadavg())


if __name__ == "__main__":
    main()
