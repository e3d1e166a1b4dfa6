"""`Client.request` against nats-py's `nc.request` and nats.go, asking a responder in C.

Run: python benchmarks/asking.py [--rounds 5] [--seconds 1]
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time

import kit

SUBJECT = "bench.requests"


async def ask(url: str, kind: str, concurrency: int, seconds: float) -> dict[str, float]:
    from nats.aio.client import Client as NatsClient

    import micro
    from micro._wire import fast_transport

    nc = NatsClient()
    if kind != "nats-py":
        fast_transport.install(nc, [url])
    await nc.connect(url)
    client = micro.Client(nc)
    data = b"x" * 64

    async def worker(end: float) -> int:
        count = 0
        while time.perf_counter() < end:
            if kind == "nats-py":
                await nc.request(SUBJECT, data, timeout=5)
            else:
                await client.request(SUBJECT, data, timeout=5)
            count += 1
        return count

    async def run(length: float) -> int:
        end = time.perf_counter() + length
        return sum(await asyncio.gather(*(worker(end) for _ in range(concurrency))))

    await run(0.2)
    began, used = time.perf_counter(), time.process_time()
    count = await run(seconds)
    rate = count / (time.perf_counter() - began)
    cpu = (time.process_time() - used) / count * 1e6
    await nc.close()
    return {"rate": rate, "cpu_us": cpu}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--ask", nargs=3, metavar=("URL", "KIND", "CONCURRENCY"), default=None)
    given = parser.parse_args()
    if given.ask is not None:
        url, kind, concurrency = given.ask
        print(json.dumps(asyncio.run(ask(url, kind, int(concurrency), given.seconds))))
        return
    with (
        kit.server() as server,
        kit.process([kit.compiled("respond"), str(server.port), SUBJECT], core=kit.LOAD_CORE),
    ):
        kit.wait_for_answer(server.port, SUBJECT)
        for concurrency in (1, 256):
            compare(server.url, concurrency, given.rounds, given.seconds)


def compare(url: str, concurrency: int, count: int, seconds: float) -> None:
    own = [sys.executable, __file__, "--seconds", str(seconds), "--ask", url]
    commands = {kind: [*own, kind, str(concurrency)] for kind in ("nats-py", *kit.paths())}
    if (go := kit.go_peer()) is not None:
        commands["nats.go"] = [go, "client", url, SUBJECT, str(concurrency), str(seconds)]
    results: kit.Results = {}
    for number, name in kit.rounds(list(commands), count):
        command = kit.pinned(kit.SERVICE_CORE, commands[name])
        environment = {**os.environ, **kit.environment(name)} if name in kit.PATHS else None
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        results[number, name] = json.loads(done.stdout)
    kit.table(
        f"{concurrency} concurrent requests, 64 B",
        ["client", "requests/s", "x nc.request", "CPU us", "x nc.request"],
        [
            [
                name,
                int(kit.value(results, name, "rate")),
                kit.ratio(results, name, "nats-py", "rate"),
                kit.value(results, name, "cpu_us"),
                kit.ratio(results, name, "nats-py", "cpu_us"),
            ]
            for name in commands
        ],
    )


if __name__ == "__main__":
    main()
