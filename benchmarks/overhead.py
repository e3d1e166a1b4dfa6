"""The cost of quantiles and deadlines: the CPU of a service with and without them, 64 B.

Run: python benchmarks/overhead.py [--rounds 15] [--seconds 0.4]
Goal: at most 1.05. The deadline comes in a header; the cost of another header of that length is
shown beside it.
"""

import argparse
import asyncio

import kit
from throughput import OURS

DEADLINE = "Micro-Timeout-Ms: 2000"
OTHER = "X-Other-Header-X: 2000"
HEADERS: dict[str, bool | str] = {"none": False, "other": OTHER, "deadline": DEADLINE}
COMPARED = {
    "quantiles": (("quantiles", "none"), ("plain", "none")),
    "a header": (("quantiles", "other"), ("quantiles", "none")),
    "deadline, over another header": (("quantiles", "deadline"), ("quantiles", "other")),
    "both, over another header": (("quantiles", "deadline"), ("plain", "other")),
    "both, over no header": (("quantiles", "deadline"), ("plain", "none")),
}


async def counted(url: str) -> dict[str, bool]:
    """Return by subject which endpoints have quantiles."""
    import nats

    import micro

    nc = await nats.connect(url)
    found = await micro.Client(nc).stats("bench", max_count=4, max_wait=5)
    await nc.close()
    endpoints = [endpoint for each in found for endpoint in each.endpoints]
    return {each.subject: "p50_ns" in (each.data or {})["micro"] for each in endpoints}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.4)
    given = parser.parse_args()
    results: kit.Results = {}
    with kit.server() as server, kit.Services(server.port) as services:
        for path in ("fast", "public"):
            services.add(f"{path} quantiles", OURS, "echo", path=path)
            services.add(f"{path} plain", OURS, "echo", "no-quantiles", path=path)
        cases = [f"{service}, {header}" for service in services.pids for header in HEADERS]
        for number, case in kit.rounds(cases, given.rounds):
            service, header = case.split(", ")
            results[number, case] = services.measure(
                service, seconds=given.seconds, window=512, headers=HEADERS[header]
            )
        seen = asyncio.run(counted(server.url))
        assert seen == {kit.subject(name): "plain" not in name for name in services.pids}, seen
    kit.table(
        "CPU of the service with and without, 64 B, window 512 "
        f"(median of {given.rounds} rounds; goal 1.05)",
        ["what", "fast", "public"],
        [
            [what]
            + [
                kit.ratio(
                    results, f"{path} {', '.join(one)}", f"{path} {', '.join(base)}", "cpu_us"
                )
                for path in ("fast", "public")
            ]
            for what, (one, base) in COMPARED.items()
        ],
    )
    kit.table(
        "CPU per request, us",
        ["service, header", "us"],
        [[case, kit.value(results, case, "cpu_us")] for case in cases],
    )


if __name__ == "__main__":
    main()
