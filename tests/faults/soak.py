"""Random faults against a service on a three-node cluster under load, and a check afterwards.

Run for ten minutes with: python -m tests.faults.soak 600

Servers restart, freeze and go into lame duck mode, instances are replaced, odd messages arrive. At
the end: each request was answered or failed with a reason within its time-out, and failed only
where a
server was at fault; no task, subscription or memory has leaked; every instance can be discovered.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import statistics
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats.errors

import micro
from micro import options
from micro.testing import NatsServer, free_port, nats_server

from .hostile import hostile, send_raw

PROGRAM = Path(__file__).with_name("program.py")
TIMEOUT = 2.0
LATE = 1.5
"""Seconds beyond its time-out after which the end of a request is a violation."""
SETTLING = 8.0
"""Seconds after a fault of a server in which requests may still fail."""
CALM = 12.0
"""Seconds without load before the check; every instance checks its connection in that time."""
RATE = 1000
INSTANCES = 3
MIX = {"echo": 88, "short": 8, "failing": 2, "add": 2}
EXPECTED = {"failing": "500", "add": "400"}
PARKED = "ParkedTasks._serve"
IDLE_TASKS = 64
"""Parked tasks that an instance may keep for the next requests."""
OTHER_TASKS = 8
"""Others by which instances may differ, such as a round trip that is just being made."""
GROWTH = 24 * 1024
"""KiB by which the instance that lives longest may grow between the first and the last third."""

Vitals = dict[str, Any]
"""What an instance tells of itself; see the program."""

CONFIG = """
server_name: n{cluster}
http: "127.0.0.1:{monitor}"
lame_duck_grace_period: "1s"
lame_duck_duration: "30s"
cluster {{ name: soak, listen: "127.0.0.1:{cluster}", routes: [{routes}] }}
"""


@dataclass
class Node:
    """A server that comes back on the same port."""

    port: int
    cluster: int
    monitor: int
    config: str = ""
    server: NatsServer | None = None
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def url(self) -> str:
        """Where to connect to."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, again if need be."""
        self.server = self.stack.enter_context(nats_server(config=self.config, port=self.port))

    def signal(self, number: int) -> None:
        """Send its process a signal."""
        assert self.server is not None
        self.server.process.send_signal(number)

    async def gone(self) -> None:
        """Wait until its process has ended, and start it again."""
        assert self.server is not None
        await asyncio.to_thread(self.server.process.wait, 60)
        await asyncio.to_thread(self.start)

    def subscriptions(self) -> list[int]:
        """Return how many subscriptions each connection of an instance has."""
        url = f"http://127.0.0.1:{self.monitor}/connz?limit=1000"
        with urllib.request.urlopen(url, timeout=5) as answer:
            found = json.load(answer)["connections"]
        return [each["subscriptions"] for each in found if each.get("name") == "faults"]


@dataclass
class Seen:
    """What happened."""

    sent: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    slowest: float = 0.0


class Soak:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.seen = Seen()
        self._chance = random.Random(seed)
        self._nodes: list[Node] = []
        self._instances: list[asyncio.subprocess.Process] = []
        self._asked: set[asyncio.Task[None]] = set()
        self._ctx = micro.Context()
        self._excused_until = 0.0
        self._rss: list[tuple[float, int]] = []

    async def run(self, seconds: float) -> None:
        """Run for some seconds, and check."""
        async with self._cluster():
            await self._ctx.__aenter__()
            await self._ctx.connect(options.servers(*(node.url for node in self._nodes)))
            self._instances.append(await self._launch())
            (veteran,) = await self._discovered(1)
            for _ in range(INSTANCES - 1):
                self._instances.append(await self._launch())
            await self._discovered(INSTANCES)
            before = await self._vitals(veteran)
            subscriptions = await self._subscriptions()
            ours = len(asyncio.all_tasks())
            work = [
                asyncio.create_task(each)
                for each in (self._load(), self._faults(), self._hostile(), self._sample(veteran))
            ]
            done, _ = await asyncio.wait(work, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
            for task in work:
                task.cancel()
            await asyncio.wait(work)
            if self._asked:
                await asyncio.wait(self._asked)
            for task in done:
                task.result()
            await self._restore()
            await asyncio.sleep(CALM)
            await self._check(veteran, before, subscriptions, ours)
            await self._ctx.__aexit__(None, None, None)

    @contextlib.asynccontextmanager
    async def _cluster(self) -> AsyncIterator[None]:
        nodes = [Node(free_port(), free_port(), free_port()) for _ in range(3)]
        routes = ", ".join(f'"nats://127.0.0.1:{node.cluster}"' for node in nodes)
        for node in nodes:
            node.config = CONFIG.format(cluster=node.cluster, monitor=node.monitor, routes=routes)
            await asyncio.to_thread(node.start)
        self._nodes = nodes
        try:
            yield
        finally:
            for process in self._instances:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            for node in nodes:
                node.signal(signal.SIGCONT)
                node.stack.close()

    # -- load

    async def _load(self) -> None:
        began, sent = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - began) * RATE)
            count = min(due - sent, RATE)
            for name in self._chance.choices([*MIX], [*MIX.values()], k=count):
                task = asyncio.create_task(self._one(name))
                self._asked.add(task)
                task.add_done_callback(self._ended)
            sent = due
            await asyncio.sleep(0.005)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._asked.discard(task)
        if (error := task.exception()) is not None:
            self.seen.violations.append(f"a request raised {error!r}")

    async def _one(self, name: str) -> None:
        seen, began = self.seen, time.monotonic()
        seen.sent += 1
        try:
            client = micro.Client(self._ctx.client)
            await client.request(f"faults.{name}", b"x" * 64, timeout=TIMEOUT)
            outcome = "ok"
        except micro.ServiceError as error:
            outcome = str(error.code)
        except (nats.errors.Error, OSError) as error:
            outcome = type(error).__name__
        ended = time.monotonic()
        seen.slowest = max(seen.slowest, ended - began)
        if ended - began > TIMEOUT + LATE:
            seen.violations.append(f"{name}: {outcome} only after {ended - began:.1f} s")
        seen.outcomes[outcome] += 1
        if outcome == EXPECTED.get(name, "ok"):
            return
        if began < self._excused_until:
            seen.excused[outcome] += 1
        else:
            seen.violations.append(f"{name}: {outcome} while no server was at fault")

    # -- faults

    async def _faults(self) -> None:
        kinds = (self._restart, self._freeze, self._lame_duck, self._replace, self._replace)
        while True:
            kind = self._chance.choice(kinds)
            self.seen.faults[kind.__name__.strip("_")] += 1
            await kind()
            await asyncio.sleep(self._chance.uniform(0.5, 2))

    @contextlib.contextmanager
    def _excuse(self) -> Iterator[None]:
        """Let requests fail during the block, and a while after it."""
        self._excused_until = float("inf")
        try:
            yield
        finally:
            self._excused_until = time.monotonic() + SETTLING

    async def _restart(self) -> None:
        node = self._chance.choice(self._nodes)
        with self._excuse():
            node.signal(signal.SIGKILL if self._chance.random() < 0.5 else signal.SIGTERM)
            await asyncio.sleep(self._chance.uniform(0, 3))
            await node.gone()
        await asyncio.sleep(SETTLING)

    async def _freeze(self) -> None:
        node = self._chance.choice(self._nodes)
        with self._excuse():
            node.signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(self._chance.choice((1, 3, 8, 40)))
            finally:
                node.signal(signal.SIGCONT)
        await asyncio.sleep(SETTLING)

    async def _lame_duck(self) -> None:
        node = self._chance.choice(self._nodes)
        with self._excuse():
            node.signal(signal.SIGUSR2)
            await node.gone()
        await asyncio.sleep(SETTLING)

    async def _replace(self) -> None:
        """Replace an instance, never the oldest; no request may fail for that."""
        new = await self._launch()
        old = self._instances.pop(self._chance.randrange(1, len(self._instances)))
        self._instances.append(new)
        old.send_signal(signal.SIGTERM)
        began = time.monotonic()
        code = await asyncio.wait_for(old.wait(), 60)
        if code != 0 or time.monotonic() - began > 40:
            elapsed = time.monotonic() - began
            self.seen.violations.append(f"an instance ended with {code} after {elapsed:.1f} s")

    async def _restore(self) -> None:
        """Have every server running."""
        for node in self._nodes:
            assert node.server is not None
            node.signal(signal.SIGCONT)
            if node.server.process.poll() is not None:
                await asyncio.to_thread(node.start)

    # -- hostile messages

    async def _hostile(self) -> None:
        while True:
            node, message = self._chance.choice(self._nodes), self._chance.choice(hostile())
            self.seen.faults["hostile"] += 1
            with contextlib.suppress(OSError):
                await asyncio.to_thread(send_raw, node.port, message)
            await asyncio.sleep(self._chance.uniform(0.05, 0.4))

    # -- observation

    async def _launch(self) -> asyncio.subprocess.Process:
        urls = [node.url for node in self._nodes]
        self._chance.shuffle(urls)  # they begin with different servers
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(PROGRAM),
            ",".join(urls),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        if line != b"ready\n":
            self.seen.violations.append(f"an instance did not start: {line!r}")
        return process

    async def _discovered(self, count: int) -> list[str]:
        """Return the ids of all instances, as soon as there are that many."""
        found: set[str] = set()
        for _ in range(80):
            with contextlib.suppress(nats.errors.Error, OSError):
                pings = await micro.Client(self._ctx.client).ping("faults", max_wait=0.5)
                found = {each.id for each in pings}
                if len(found) == count:
                    break
            await asyncio.sleep(0.25)
        return sorted(found)

    async def _vitals(self, instance: str) -> Vitals:
        answer = await micro.Client(self._ctx.client).request(
            f"faults.vitals.{instance}", timeout=5
        )
        found: Vitals = json.loads(answer.data)
        return found

    async def _sample(self, veteran: str) -> None:
        while True:
            with contextlib.suppress(nats.errors.Error, OSError):
                self._rss.append((time.monotonic(), (await self._vitals(veteran))["rss"]))
            await asyncio.sleep(1)

    async def _subscriptions(self) -> list[int]:
        """Return how many subscriptions each connection of an instance has, on all servers."""
        found = [await asyncio.to_thread(node.subscriptions) for node in self._nodes]
        return sorted(count for counts in found for count in counts)

    async def _check(
        self, veteran: str, before: Vitals, subscriptions: list[int], ours: int
    ) -> None:
        seen = self.seen
        found = await self._discovered(INSTANCES)
        if len(found) != INSTANCES or veteran not in found:
            seen.violations.append(f"discovered {found}, the veteran is {veteran}")
        after = {each: await self._vitals(each) for each in found}
        for vitals in after.values():
            parked, others = count_tasks(vitals)
            if parked > IDLE_TASKS or others > count_tasks(before)[1] + OTHER_TASKS:
                seen.violations.append(f"instance has tasks {vitals['tasks']}")
        now = await self._subscriptions()
        if now != subscriptions:
            seen.violations.append(f"subscriptions were {subscriptions}, are {now}")
        if len(asyncio.all_tasks()) > ours + 10:
            seen.violations.append(f"{len(asyncio.all_tasks())} tasks here, were {ours}")
        self._report(before, after, subscriptions, now)

    def _report(
        self,
        before: Vitals,
        after: dict[str, Vitals],
        subscriptions: list[int],
        now: list[int],
    ) -> None:
        seen = self.seen
        times, sizes = zip(*self._rss, strict=True)
        third = max(1, len(sizes) // 3)
        growth = statistics.median(sizes[-third:]) - statistics.median(sizes[:third])
        if growth > GROWTH:
            seen.violations.append(f"the oldest instance grew by {growth} KiB")
        slope = statistics.linear_regression(times, sizes).slope * 60 if len(sizes) > 1 else 0.0
        print(f"requests     {seen.sent}: {dict(seen.outcomes)}, slowest {seen.slowest:.2f} s")
        print(f"excused      {dict(seen.excused)} (a server was at fault)")
        print(f"faults       {dict(seen.faults)}")
        print(f"memory       {growth:+.0f} KiB in the oldest instance, {slope:+.0f} KiB a minute")
        tasks = [count_tasks(vitals) for vitals in after.values()]
        print(f"tasks        {count_tasks(before)} before, {tasks} after (parked, others)")
        print(f"subscribed   {subscriptions} before, {now} after")
        print(f"discovered   {len(after)} of {INSTANCES}")


def count_tasks(vitals: Vitals) -> tuple[int, int]:
    """Return how many tasks are parked, and how many others there are."""
    parked = vitals["tasks"].get(PARKED, 0)
    return parked, sum(vitals["tasks"].values()) - parked


def main() -> None:
    """Run as told on the command line; the exit code says whether everything held."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("seconds", type=float, nargs="?", default=600)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    chosen = parser.parse_args()
    print(f"seed         {chosen.seed}, {chosen.seconds:g} s", flush=True)
    soak = Soak(chosen.seed)
    asyncio.run(soak.run(chosen.seconds))
    counted = Counter(soak.seen.violations)
    print(f"violations   {counted.total()}")
    for text, count in counted.most_common(20):
        print(f"  {count} x {text}")
    sys.exit(1 if counted else 0)


if __name__ == "__main__":
    main()
