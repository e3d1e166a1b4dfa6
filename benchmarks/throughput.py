"""CPU per request of our service and of its peers, relative to a plain nats-py subscription.

Run: python benchmarks/throughput.py [--rounds 5] [--seconds 0.5] [--quick]
Goals: docs/performance.md; `--quick` leaves out all peers but nats-py.
"""

import argparse
from typing import Any

import kit

OURS = [kit.OWN, str(kit.PEERS / "ours.py")]
NATS_PY = [kit.OWN, str(kit.PEERS / "nats_py.py")]
ORDER = '{"id":1,"name":"a name","quantity":3,"price":9.5,"tags":["a","b","c"],"note":null}'

SCENARIOS: dict[str, dict[str, Any]] = {
    "64 B, window 512": {"window": 512, "size": 64},
    "64 B, window 512, 2 headers": {"window": 512, "size": 64, "headers": True},
    "64 B, window 64": {"window": 64, "size": 64},
    "64 B, window 1": {"window": 1, "size": 64},
    "1 KiB, window 64": {"window": 64, "size": 1024},
    "1 KiB, window 512": {"window": 512, "size": 1024},
    "64 KiB, window 64": {"window": 64, "size": 65536},
    "64 KiB, window 512": {"window": 512, "size": 65536},
}


def add_services(services: kit.Services, quick: bool) -> list[str]:
    services.add("nats-py subscription", NATS_PY, "raw")
    for path in kit.paths():
        services.add(path, OURS, "echo", path=path)
        services.add(f"{path} 3 middlewares", OURS, "echo", "middlewares", path=path)
        services.add(f"{path} cheap", OURS, "cheap", path=path)
    services.add("python floor", [kit.OWN, str(kit.PEERS / "floor.py")])
    services.add("nats-py micro", NATS_PY, "micro")
    if not quick:
        peer = str(kit.PEER_PYTHON)
        charbonats = [peer, str(kit.PEERS / "charbonats.py")]
        services.add("charbonats", charbonats)
        services.add("charbonats 3 middlewares", charbonats, "middlewares")
        services.add("FastStream", [peer, str(kit.PEERS / "faststream_echo.py")])
        if (node := kit.node_peer()) is not None:
            services.add("nats.js services", node)
        if (go := kit.go_peer()) is not None:
            services.add("nats.go micro", [go, "service"])
    return list(services.pids)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    found: dict[str, kit.Results] = {name: {} for name in SCENARIOS}
    with kit.server() as server, kit.Services(server.port) as services:
        names = add_services(services, given.quick)
        for scenario, load in SCENARIOS.items():
            for number, name in kit.rounds(names, given.rounds):
                found[scenario][number, name] = services.measure(
                    name,
                    seconds=given.seconds,
                    **load,
                )
    base = names[0]
    kit.table(
        f"CPU per request, relative to a nats-py subscription (median of {given.rounds} rounds)",
        ["service", *SCENARIOS],
        [
            [name, *(kit.ratio(found[scenario], name, base, "cpu_us") for scenario in SCENARIOS)]
            for name in names
        ],
    )
    most, one = "64 B, window 512", "64 B, window 1"
    kit.table(
        "Rate and latency, 64 B",
        ["service", "requests/s at 512", "x nats-py", "CPU us at 512", "p50 us at 1", "x floor"],
        [
            [
                name,
                int(kit.value(found[most], name, "rate")),
                kit.ratio(found[most], name, base, "rate"),
                kit.value(found[most], name, "cpu_us"),
                kit.value(found[one], name, "p50_us"),
                kit.ratio(found[one], name, "python floor", "p50_us"),
            ]
            for name in names
        ],
    )
    typed(given.rounds, given.seconds, base)


def typed(count: int, seconds: float, base: str) -> None:
    results: kit.Results = {}
    with kit.server() as server, kit.Services(server.port) as services:
        services.add(base, NATS_PY, "raw")
        for path in kit.paths():
            arguments = ("typed", "middlewares")
            services.add(f"{path} typed", OURS, *arguments, path=path, payload=ORDER.encode())
        names = list(services.pids)
        for number, name in kit.rounds(names, count):
            results[number, name] = services.measure(name, seconds=seconds, window=512, text=ORDER)
    kit.table(
        "Typed handler (pydantic in and out) with 3 middlewares, window 512",
        ["service", "x CPU of a nats-py subscription that echoes the same bytes"],
        [[name, kit.ratio(results, name, base, "cpu_us")] for name in names],
    )


if __name__ == "__main__":
    main()
