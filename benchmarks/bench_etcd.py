"""micro_etcd against a bare grpc.aio stub (in turns, in one process), etcetra and aetcd.

Each peer has its own environment in the user's cache, since they pin old versions of grpcio. A peer
that cannot be installed is left out by name.
"""

import argparse
import os
import statistics
import subprocess
import sys
import venv
from pathlib import Path

from micro_etcd.testing import EtcdServer

WORKER = Path(__file__).with_name("etcd_worker.py")
PEERS = {"etcetra": "etcetra==0.1.19", "aetcd": "aetcd==1.0.0"}
CASES = [("get", 1), ("get", 64), ("get", 512), ("put", 1), ("put", 64)]
GOALS = {("get", 1): 0.9, ("get", 64): 3.0, ("get", 512): 4.0, ("put", 1): 0.9, ("put", 64): 0.9}


def peer_python(name: str) -> Path | None:
    """Return the interpreter of a peer's environment, made on first use."""
    given = os.environ.get("XDG_CACHE_HOME")
    cache = Path(given) if given else Path.home() / ".cache"
    folder = cache / "natsmicro" / "bench" / name
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", PEERS[name], "setuptools<80"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"left out: {name}: {done.stderr.strip().splitlines()[-1]}")
            return None
        (folder / "ready").touch()
    return python


def run(
    python: Path, names: list[str], case: tuple[str, int], seconds: float, address: str
) -> list[tuple[float, float]]:
    """Return the rate and the cost of each client."""
    operation, callers = case
    command = [str(python), str(WORKER), address, operation, str(callers), str(seconds), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{names} failed:\n{done.stderr}")
    lines = [line.split() for line in done.stdout.splitlines()]
    return [(float(rate), float(cost)) for rate, cost in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    processes: dict[tuple[str, ...], Path] = {("bare", "micro_etcd"): Path(sys.executable)}
    for name in PEERS:
        python = peer_python(name)
        if python is not None:
            processes[name,] = python
    rates: dict[tuple[str, tuple[str, int]], list[float]] = {}
    costs: dict[tuple[str, tuple[str, int]], list[float]] = {}
    with EtcdServer() as server:
        for _ in range(options.rounds):
            for case in CASES:
                for names, python in processes.items():
                    figures = run(python, [*names], case, options.seconds, str(server.address))
                    for name, (rate, cost) in zip(names, figures, strict=True):
                        rates.setdefault((name, case), []).append(rate)
                        costs.setdefault((name, case), []).append(cost)
    report([name for names in processes for name in names], rates, costs)


def report(
    clients: list[str],
    rates: dict[tuple[str, tuple[str, int]], list[float]],
    costs: dict[tuple[str, tuple[str, int]], list[float]],
) -> None:
    """Print one table: rate, times the bare stub's rate in the same round, processor time."""
    print("| operation | callers | client | calls/s | x bare (median) | goal | us of CPU each |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for case in CASES:
        for name in clients:
            own, base = rates[name, case], rates["bare", case]
            ratio = statistics.median(a / b for a, b in zip(own, base, strict=True))
            goal = f"{GOALS[case]:.1f}" if name == "micro_etcd" else ""
            print(
                f"| {case[0]} | {case[1]} | {name} | {statistics.median(own):,.0f} | {ratio:.2f} "
                f"| {goal} | {statistics.median(costs[name, case]):.1f} |"
            )


if __name__ == "__main__":
    main()
