"""Many schemas at once from a real Apicurio Registry, as when a consumer of many topics starts.

Run: python benchmarks/registry_at_once.py [--schemas 500] [--rounds 3] [--before FOLDER]
Goal: 500 schemas succeed within 6 s, and the event loop is never blocked for more than 0.3 s. With
`--before`, a checkout of another build is measured beside this one, in turns, with the Python of
its `.venv` if it has one.

The registry is that of the tests: Maven has to be installed.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))


async def longest_block(stopped: asyncio.Event) -> float:
    """Return the longest time for which the event loop ran nothing else, in seconds."""
    longest = 0.0
    while not stopped.is_set():
        started = time.perf_counter()
        await asyncio.sleep(0.01)
        longest = max(longest, time.perf_counter() - started - 0.01)
    return longest


async def fetch(url: str, count: int) -> str:
    """Fetch all schemas at once with a new client and return one line about it."""
    from micro_schema_registry import AsyncApicurioRegistryClient

    async with AsyncApicurioRegistryClient(url, "load") as client:
        stopped = asyncio.Event()
        watching = asyncio.create_task(longest_block(stopped))
        started = time.perf_counter()
        answers = await asyncio.gather(
            *(client.get_schema(f"schema-{number}") for number in range(count)),
            return_exceptions=True,
        )
        seconds = time.perf_counter() - started
        stopped.set()
    failed = sum(isinstance(answer, BaseException) for answer in answers)
    return f"{count - failed} of {count} in {seconds:.1f} s, blocked {await watching:.2f} s"


async def register(url: str, count: int) -> None:
    from micro_schema_registry import AsyncApicurioRegistryClient

    async with AsyncApicurioRegistryClient(url, "load") as client:
        for number in range(count):
            schema = {"type": "fixed", "name": f"F{number}", "size": 8}
            await client.register_schema(f"schema-{number}", schema)


def measured(folder: Path, url: str, count: int) -> str:
    """Fetch in a process of its own with the build in a folder."""
    paths = os.pathsep.join(str(folder / name) for name in ("src", "services"))
    own = folder / ".venv" / "bin" / "python"  # another build may need other libraries
    python = str(own) if own.exists() else sys.executable
    command = [python, __file__, "--fetch", url, "--schemas", str(count)]
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schemas", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--fetch", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fetch is not None:
        print(asyncio.run(fetch(options.fetch, options.schemas)))
        return
    from tests.micro_schema_registry.apicurio import server_process

    builds = {"this build": ROOT}
    if options.before is not None:
        builds["before"] = options.before
    with tempfile.TemporaryDirectory() as folder, server_process(Path(folder)) as url:
        asyncio.run(register(url, options.schemas))
        for _ in range(options.rounds):
            for name, build in builds.items():
                print(f"{name:12}{measured(build, url, options.schemas)}", flush=True)


if __name__ == "__main__":
    main()
