"""Gathering the answers of 1,000 instances, against reading them from a socket with json.loads.

The instances are canned: one responder sends 1,000 answers, so that only the client is measured.
Run: python benchmarks/discovery.py [--rounds 11]
"""

import argparse
import asyncio
import json
import os
import sys
import time
from urllib.parse import urlparse

import kit
from nats.aio.client import Client as NatsClient

INSTANCES = 1000
VERBS = ("PING", "INFO", "STATS")


def body(verb: str, number: int) -> bytes:
    found = {
        "type": f"io.nats.micro.v1.{verb.lower()}_response",
        "name": "bench",
        "id": f"I{number:021d}",
        "version": "1.0.0",
        "metadata": {},
    }
    endpoint = {"name": "echo", "subject": f"echo.{number}", "queue_group": "q"}
    if verb == "INFO":
        found |= {"description": "", "endpoints": [{**endpoint, "metadata": {}}]}
    if verb == "STATS":
        zero = {"num_requests": 0, "num_errors": 0, "last_error": "", "processing_time": 0}
        numbers = {**endpoint, **zero, "average_processing_time": 0}
        found |= {"started": "2026-01-01T00:00:00Z", "endpoints": [numbers]}
    return json.dumps(found).encode()


async def respond(url: str, instances: int = INSTANCES) -> None:
    """Answer each verb as so many instances would."""
    where = urlparse(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(b'CONNECT {"verbose":false,"headers":true}\r\n')
    canned = {}
    for number, verb in enumerate(VERBS, 1):
        writer.write(b"SUB $SRV.%b %d\r\n" % (verb.encode(), number))
        canned[verb] = [body(verb, i) for i in range(instances)]
    while line := await reader.readline():
        words = line.split()
        if words[:1] == [b"PING"]:
            writer.write(b"PONG\r\n")
        elif words[:1] == [b"MSG"]:
            await reader.readexactly(int(words[-1]) + 2)
            answers = canned[words[1].decode().partition(".")[2]]
            writer.write(b"".join(b"PUB %b %d\r\n%b\r\n" % (words[3], len(a), a) for a in answers))


async def by_socket(url: str, verb: str) -> float:
    """Return the CPU seconds of reading and decoding all answers with nothing around it."""
    where = urlparse(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=2**22)
    writer.write(b'CONNECT {"verbose":false,"headers":true}\r\nSUB i 1\r\nPING\r\n')
    while (await reader.readline()) != b"PONG\r\n":
        pass
    began = time.perf_counter()
    writer.write(b"PUB $SRV.%b i 0\r\n\r\n" % verb.encode())
    data, found, position = b"", 0, 0
    while found < INSTANCES:
        received = await reader.read(2**20)
        if not received:
            raise SystemExit("the server has closed the connection of the socket")
        data += received
        while (line_end := data.find(b"\r\n", position)) >= 0:
            if not data.startswith(b"MSG", position):
                position = line_end + 2  # a PING of the server
                continue
            size = int(data[position:line_end].split()[-1])
            end = line_end + 2 + size
            if end + 2 > len(data):
                break
            json.loads(data[line_end + 2 : end])
            found += 1
            position = end + 2
    took = time.perf_counter() - began
    writer.close()
    return took


async def by_client(nc: NatsClient, verb: str) -> float:
    import micro

    client = micro.Client(nc)
    ask = {"PING": client.ping, "INFO": client.info, "STATS": client.stats}[verb]
    began = time.perf_counter()
    found = await ask(max_wait=10, max_count=INSTANCES)
    took = time.perf_counter() - began
    assert len(found) == INSTANCES
    return took


async def measure(url: str, count: int) -> dict[str, kit.Results]:
    from micro._wire import fast_transport

    clients = {}
    for path in ("fast", "public"):
        os.environ[fast_transport.VARIABLE] = path
        clients[path] = NatsClient()
        fast_transport.install(clients[path], [url])
        await clients[path].connect(url)
    results: dict[str, kit.Results] = {verb: {} for verb in VERBS}
    for verb in VERBS:
        for number, name in kit.rounds(["socket", *clients], count):
            took = await (
                by_socket(url, verb) if name == "socket" else by_client(clients[name], verb)
            )
            results[verb][number, name] = {"ms": took * 1000}
    for nc in clients.values():
        await nc.close()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--respond", metavar="URL", default=None)
    given = parser.parse_args()
    if given.respond is not None:
        asyncio.run(respond(given.respond))
        return
    with (
        kit.server() as server,
        kit.process([sys.executable, __file__, "--respond", server.url], core=kit.LOAD_CORE),
    ):
        time.sleep(1)
        results = asyncio.run(measure(server.url, given.rounds))
    kit.table(
        f"{INSTANCES} instances: milliseconds until all are read",
        ["client", *(cell for verb in VERBS for cell in (verb, "x socket"))],
        [
            [
                name,
                *(
                    cell
                    for verb in VERBS
                    for cell in (
                        kit.value(results[verb], name, "ms"),
                        kit.ratio(results[verb], name, "socket", "ms"),
                    )
                ),
            ]
            for name in ("socket", "fast", "public")
        ],
    )


if __name__ == "__main__":
    main()
