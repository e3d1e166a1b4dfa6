"""What a core does: requests per second of it, and the cost of a million, beside other libraries.

Run: python benchmarks/cost.py [--rounds 5] [--seconds 0.5] [--price 0.04]

The figures are CPU time: a service that waits for the load or for nats-server costs nothing then.
"""

import argparse
import os
from pathlib import Path

import kit

OURS = [kit.OWN, str(kit.PEERS / "ours.py")]
NATS_PY = [kit.OWN, str(kit.PEERS / "nats_py.py")]
FASTSTREAM = [str(kit.PEER_PYTHON), str(kit.PEERS / "faststream_echo.py")]
ORDER = '{"id":1,"name":"a name","quantity":3,"price":9.5,"tags":["a","b","c"],"note":null}'
BASE = "nats-py subscription"


def add_raw(services: kit.Services, kind: str) -> None:
    """Add the services whose handler answers with the bytes that it receives."""
    go, node, natsio = kit.go_peer(), kit.node_peer(), kit.natsio_peer()
    if kind == "echo":
        services.add(BASE, NATS_PY, "raw")
    services.add("nats-py micro", NATS_PY, "micro", kind)
    if natsio is not None:
        services.add("natsio micro", natsio, kind)
    services.add("FastStream", FASTSTREAM, kind)
    if node is not None:
        services.add("nats.js services", node, kind)
    if go is not None:
        services.add("nats.go micro", [go, "service"], kind)


def measure(kind: str, given: argparse.Namespace) -> None:
    results: kit.Results = {}
    text = ORDER if kind == "typed" else None
    with kit.server() as server, kit.Services(server.port) as services:
        for path in kit.paths():
            services.add(path, OURS, kind, path=path, payload=(text or "").encode())
        if kind == "typed":
            services.add("FastStream", FASTSTREAM, kind, payload=ORDER.encode())
        else:
            add_raw(services, kind)
        for number, name in kit.rounds(list(services.pids), given.rounds):
            results[number, name] = services.measure(
                name,
                seconds=given.seconds * (3 if kind == "sleep" else 1),
                window=512,
                text=text,
                settle=6.0 if kind == "sleep" and name.endswith("py micro") else 0.1,
            )
        names = list(services.pids)
    kit.table(
        TITLES[kind],
        ["service", "requests/s of a core", "CPU s for a million", "US$ for 1,000 million"],
        [row(results, name, given.price) for name in names],
    )


TITLES = {
    "echo": "Raw handlers, 64 B, window 512",
    "typed": "Typed handlers, a model of 83 B in and out, window 512",
    "sleep": "Handlers that wait for 10 ms, window 512",
}


def row(results: kit.Results, name: str, price: float) -> list[str | int | float]:
    cpu_us = kit.value(results, name, "cpu_us")
    return [name, int(1e6 / cpu_us), cpu_us, f"{cpu_us * 1e3 / 3600 * price:.3f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--price", type=float, default=0.04, help="US$ for a core and hour")
    given = parser.parse_args()
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    processor = next(
        (
            line.partition(": ")[2]
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown processor",
    )
    print(f"{processor}, load {load} before the run, US$ {given.price} for a core and hour")
    for kind in TITLES:
        measure(kind, given)


if __name__ == "__main__":
    main()
