"""Handlers that wait: how many requests run at once, and what one slow request costs the others.

Run: python benchmarks/waiting.py [--rounds 5]
"""

import argparse

import kit

OURS = [kit.OWN, str(kit.PEERS / "ours.py")]
NATS_PY = [kit.OWN, str(kit.PEERS / "nats_py.py")]


def measure(work: str, count: int, window: int) -> kit.Results:
    results: kit.Results = {}
    with kit.server() as server, kit.Services(server.port) as services:
        for path in kit.paths():
            services.add(path, OURS, work, path=path)
        services.add("nats-py micro", NATS_PY, "micro", work)
        for number, name in kit.rounds(list(services.pids), count):
            # One at a time needs long to work off what it was given.
            settle = 6.0 if name == "nats-py micro" else 0.1
            results[number, name] = services.measure(
                name, seconds=1.5, window=window, settle=settle
            )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    count = parser.parse_args().rounds
    names, base = [*kit.paths(), "nats-py micro"], "nats-py micro"
    found = measure("sleep", count, 512)
    kit.table(
        "10 ms handlers, 512 outstanding, one endpoint (ideal: 51,200 requests/s)",
        ["service", "requests/s", "x nats-py micro", "p50 ms", "p99 ms"],
        [
            [
                name,
                int(kit.value(found, name, "rate")),
                kit.ratio(found, name, base, "rate"),
                kit.value(found, name, "p50_us") / 1000,
                kit.value(found, name, "p99_us") / 1000,
            ]
            for name in names
        ],
    )
    found = measure("uneven", count, 64)
    kit.table(
        "1 % of the requests take 100 ms, 64 outstanding",
        ["service", "requests/s", "p50 ms", "p90 ms", "p99 ms"],
        [
            [
                name,
                int(kit.value(found, name, "rate")),
                *(kit.value(found, name, f"p{q}_us") / 1000 for q in (50, 90, 99)),
            ]
            for name in names
        ],
    )


if __name__ == "__main__":
    main()
