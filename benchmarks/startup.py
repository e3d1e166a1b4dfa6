"""Time until a process with many endpoints serves, and its memory, against bare nats-py.

Everything runs from byte code, as it does where it was installed: an editable installation with
PYTHONDONTWRITEBYTECODE set would compile the framework at each start, and nothing else.
Run: python benchmarks/startup.py [--rounds 5]
"""

import argparse
import os
import subprocess
import time

import kit

COUNTS = (1, 1000)

ENVIRONMENT = {**os.environ, "PYTHONPYCACHEPREFIX": str(kit.BUILD / "byte-code")}
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)


def start(url: str, kind: str, path: str, count: int) -> dict[str, float]:
    """Return seconds until ready, and resident KiB then."""
    script = str(kit.PEERS / "endpoints.py")
    began = time.perf_counter()
    with subprocess.Popen(
        kit.pinned(kit.SERVICE_CORE, [kit.OWN, script, url, kind, str(count)]),
        stdout=subprocess.PIPE,
        env={**ENVIRONMENT, **kit.environment(path)},
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = {"seconds": time.perf_counter() - began, "kib": kit.memory_kib(process.pid)}
        process.kill()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    count = parser.parse_args().rounds
    kinds = {
        "nats-py": ("nats-py", "auto"),
        "nats-py, each confirmed": ("confirmed", "auto"),
        **{path: ("ours", path) for path in kit.paths()},
    }
    found: dict[int, kit.Results] = {size: {} for size in COUNTS}
    with kit.server() as server:
        for kind, path in kinds.values():
            start(server.url, kind, path, 1)  # writes the byte code
        for size in COUNTS:
            for number, name in kit.rounds(list(kinds), count):
                found[size][number, name] = start(server.url, *kinds[name], size)
    rows = []
    for name in kinds:
        few, many = (kit.value(found[size], name, "kib") for size in COUNTS)
        times = [
            cell
            for size in COUNTS
            for cell in (
                kit.value(found[size], name, "seconds"),
                kit.ratio(found[size], name, "nats-py", "seconds"),
            )
        ]
        rows.append([name, *times, few / 1024, (many - few) / (COUNTS[1] - COUNTS[0])])
    kit.table(
        "Start-up",
        ["process", "1 endpoint, s", "x", "1,000, s", "x", "RSS MiB", "KiB per endpoint"],
        rows,
    )


if __name__ == "__main__":
    main()
