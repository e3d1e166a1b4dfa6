"""A storm of discovery beside requests, in separate processes, so that it measures the service.

`python tests/faults/storm.py [seconds]` prints the figures of both paths.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from micro.testing import nats_server

PROGRAM = Path(__file__).with_name("program.py")
STORM = 1500
"""STATS and INFO requests per second."""
ASKED = 200
"""Other requests per second, one after the other."""
TIMEOUT = 2.0
PATIENCE = 5.0
"""Seconds to wait for the last answers of discovery."""
INBOX = b"_INBOX.storm.%d" % os.getpid()


@dataclass(frozen=True)
class Figures:
    """The outcomes of requests; times in seconds."""

    asked: int
    failed: int
    p50: float = 0.0
    p99: float = 0.0

    def __str__(self) -> str:
        times = f"p50 {self.p50 * 1e3:.2f} ms, p99 {self.p99 * 1e3:.2f} ms" if self.p50 else ""
        return f"{self.failed} of {self.asked} failed {times}".strip()


def connect(port: int) -> socket.socket:
    """Return a connection that is subscribed to the inbox."""
    connection = socket.create_connection(("127.0.0.1", port), 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(
        b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB %b 1\r\n' % INBOX
    )
    return connection


def storm(port: int, service: str, seconds: float) -> Figures:
    """Send discovery requests at a steady rate."""
    asked = answered = 0
    rest = b""
    began = time.monotonic()
    with closing(connect(port)) as link:
        while (elapsed := time.monotonic() - began) < seconds or answered < asked:
            if elapsed > seconds + PATIENCE:
                break
            for _ in range(int(min(elapsed, seconds) * STORM) - asked):
                verb = b"INFO" if asked % 2 else b"STATS"
                link.sendall(b"PUB $SRV.%b.%b %b 0\r\n\r\n" % (verb, service.encode(), INBOX))
                asked += 1
            if select.select([link], [], [], 0.5 / STORM)[0]:
                received = rest + link.recv(2**20)
                answered += received.count(b"MSG " + INBOX)
                rest = received[-len(INBOX) - 3 :]
    return Figures(asked, asked - answered)


def probe(port: int, subject: str, seconds: float) -> Figures:
    """Send requests in turn at a steady rate; a missing answer raises."""
    times: list[float] = []
    failed = 0
    began = time.monotonic()
    with closing(connect(port)) as link:
        link.settimeout(TIMEOUT)
        while (elapsed := time.monotonic() - began) < seconds:
            time.sleep(max(0.0, len(times) / ASKED - elapsed))
            asked = time.perf_counter()
            link.sendall(b"PUB %b %b 1\r\nx\r\n" % (subject.encode(), INBOX))
            received = b""
            while not received.endswith((b"\r\nx\r\n", b"\r\n\r\n")):
                received += link.recv(65536)
                received = received.replace(b"PING\r\n", b"")  # may come right after an answer
            times.append(time.perf_counter() - asked)
            failed += b"NATS/1.0" in received
    times.sort()
    last = len(times) - 1
    return Figures(len(times), failed, times[last // 2], times[round(last * 0.99)])


MODES = {"storm": storm, "probe": probe}


async def elsewhere(mode: str, port: int, asked: str, seconds: float) -> Figures:
    """Run one of the modes in a process."""
    command = (sys.executable, __file__, mode, str(port), asked, str(seconds))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return Figures(*json.loads(printed))


async def measure(port: int, seconds: float) -> tuple[Figures, Figures, Figures]:
    """Return the figures of requests without storm, in the storm, and of the storm."""
    calm = await elsewhere("probe", port, "faults.echo", seconds)
    stormed, beside = await asyncio.gather(
        elsewhere("storm", port, "faults", seconds + 0.5),
        elsewhere("probe", port, "faults.echo", seconds),
    )
    return calm, beside, stormed


async def report(path: str, seconds: float) -> None:
    """Print the figures of one path."""
    with nats_server() as server:
        service = await asyncio.create_subprocess_exec(
            sys.executable,
            str(PROGRAM),
            server.url,
            env={**os.environ, "MICRO_TRANSPORT": path},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            assert service.stdout is not None
            await service.stdout.readline()  # ready
            calm, beside, stormed = await measure(server.port, seconds)
        finally:
            service.terminate()
            await service.communicate()
    print(f"{path}: calm {calm}; in the storm {beside} (bar 5 ms, 0 failed); discovery: {stormed}")


async def main(seconds: float) -> None:
    for path in ("fast", "public"):
        await report(path, seconds)


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in MODES:
        mode, port, asked, seconds = sys.argv[1:]
        figures = MODES[mode](int(port), asked, float(seconds))
        print(json.dumps([figures.asked, figures.failed, figures.p50, figures.p99]))
    else:
        asyncio.run(main(float(sys.argv[1]) if sys.argv[1:] else 5.0))
