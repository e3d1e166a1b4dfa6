"""How soon services are back after a restart, when the cluster lists four addresses that are dead.

Run: python benchmarks/reconnect.py [--rounds 5] [--down 2.5]
Goal: within 0.75 s of the moment when the server listens again.

Four further servers of the cluster advertise addresses on which nothing listens, so that each
service knows one address that works and four that do not. Our two paths, nats.go and nats-py wait
for the same server in the same rounds. It is one run: what counts is the order of the peers.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from statistics import median

from kit import OWN, PEERS, go_peer, process, subject, table, wait_for_answer

from micro.testing import free_port, nats_server

DEAD = 4
CLUSTER = 'cluster {{ name: c, listen: "127.0.0.1:{own}", routes: ["nats://127.0.0.1:{first}"] }}'


@contextmanager
def stale_cluster() -> Iterator[tuple[int, str]]:
    """Run servers that advertise dead addresses; gives port and configuration of one to join."""
    first = free_port()
    with ExitStack() as stack:
        for _ in range(DEAD):
            advertised = f'client_advertise: "127.0.0.1:{free_port()}"\n'
            config = advertised + CLUSTER.format(own=free_port(), first=first)
            stack.enter_context(nats_server(config=config))
        yield free_port(), CLUSTER.format(own=first, first=first)


def services() -> dict[str, tuple[Sequence[str], Sequence[str], str]]:
    """Return script, further arguments and transport path of each service by its name."""
    ours = [OWN, str(PEERS / "ours.py")]
    found: dict[str, tuple[Sequence[str], Sequence[str], str]] = {
        "ours, fast": (ours, ["echo"], "fast"),
        "ours, public": (ours, ["echo"], "public"),
    }
    if go := go_peer():
        found["nats.go"] = ([go, "service"], [], "")
    found["nats-py"] = ([OWN, str(PEERS / "nats_py.py")], ["raw"], "")
    return found


def restart(names: Mapping[str, object], port: int, config: str, down: float) -> dict[str, float]:
    """Return after how many seconds each service answers again."""
    with nats_server(port=port, config=config):
        for name in names:
            wait_for_answer(port, subject(name), timeout=60)
        time.sleep(1)  # the server tells of the others
    time.sleep(down)
    with nats_server(port=port, config=config), ThreadPoolExecutor(len(names)) as threads:
        began = time.monotonic()

        def back(name: str) -> float:
            wait_for_answer(port, subject(name), timeout=60)
            return time.monotonic() - began

        return dict(zip(names, threads.map(back, names), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--down", type=float, default=2.5)
    options = parser.parse_args()
    chosen = services()
    found: dict[str, list[float]] = {name: [] for name in chosen}
    with stale_cluster() as (port, config), ExitStack() as stack:
        with nats_server(port=port, config=config):  # for the first connection
            for name, (script, arguments, path) in chosen.items():
                command = [*script, f"nats://127.0.0.1:{port}", subject(name), *arguments]
                environment = {"MICRO_TRANSPORT": path} if path else {}
                stack.enter_context(process(command, environment=environment))
                wait_for_answer(port, subject(name))
        for _ in range(options.rounds):
            for name, seconds in restart(chosen, port, config, options.down).items():
                found[name].append(seconds)
    table(
        f"Seconds from the restart to the answer, {DEAD} of {DEAD + 1} addresses dead, "
        f"{options.rounds} restarts",
        ["service", "median", "slowest"],
        [(name, median(seconds), max(seconds)) for name, seconds in found.items()],
    )


if __name__ == "__main__":
    main()
