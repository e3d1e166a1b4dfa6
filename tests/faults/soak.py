"""Random faults against a service on a three-node cluster under load, and a check afterwards.

Run for ten minutes with: python -m tests.faults.soak 600

Servers restart, freeze and go into lame duck mode; certificates are renewed, the password of the
instances changes, a permission is withdrawn and given back; instances over TCP and WebSocket are
replaced, odd messages arrive. At the end: each request was answered or failed with a reason within
its time-out, and failed only where a server or operator was at fault; each kind of fault has
happened; no task, subscription or memory has leaked; every instance can be discovered.
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
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats.errors

import micro
from micro import options
from micro.testing import free_port

from .access import Access
from .hostile import hostile, send_raw
from .nodes import Node

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
KINDS = (
    *("restart", "freeze", "lame duck", "replace", "hostile"),
    *("certificates", "password", "permission", "WebSocket instance"),
)
PARKED = "TaskPool._serve"
IDLE_TASKS = 64
"""Parked tasks that an instance may keep for the next requests."""
OTHER_TASKS = 8
"""Others by which instances may differ, such as a round trip that is just being made."""
GROWTH = 24 * 1024
"""KiB by which the instance that lives longest may grow between the first and the last third."""
ALL_KINDS = 60
"""Seconds in which each kind of fault has to happen."""
WITHDRAWN = "short"
"""The endpoint that the instances are not permitted to serve for a while."""

Vitals = dict[str, Any]
"""What an instance tells of itself; see the program."""


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
        self._launched = 0
        self._rss: list[tuple[float, int]] = []

    async def run(self, seconds: float) -> None:
        """Run for some seconds, and check."""
        async with self._cluster():
            await self._ctx.__aenter__()
            urls = options.servers(*(node.url for node in self._nodes))
            await self._ctx.connect(urls, *self._access.caller())
            self._instances.append(await self._launch())
            (veteran,) = await self._discovered(1)
            for _ in range(INSTANCES - 1):
                self._instances.append(await self._launch())
            await self._discovered(INSTANCES)
            before = await self._vitals(veteran)
            subscriptions = await self._subscriptions()
            ours = len(asyncio.all_tasks())
            faults = asyncio.create_task(self._faults(seconds))
            work = [
                asyncio.create_task(each)
                for each in (self._load(), self._hostile(), self._sample(veteran))
            ]
            await asyncio.wait([faults, *work], return_when=asyncio.FIRST_COMPLETED)
            for task in work:
                task.cancel()
            await asyncio.wait(work)
            if self._asked:
                await asyncio.wait(self._asked)
            for task in (faults, *work):
                if not task.cancelled():
                    task.result()
            await asyncio.sleep(CALM)
            if seconds >= ALL_KINDS:
                self._check_kinds()
            await self._check(veteran, before, subscriptions, ours)
            await self._ctx.__aexit__(None, None, None)

    @contextlib.asynccontextmanager
    async def _cluster(self) -> AsyncIterator[None]:
        with tempfile.TemporaryDirectory() as folder:
            self._access = Access(Path(folder))
            self._nodes = [
                Node(
                    port=free_port(),
                    cluster=free_port(),
                    monitor=free_port(),
                    websocket=free_port(),
                    config=Path(folder, f"n{number}.conf"),
                )
                for number in range(3)
            ]
            self._configure()
            for node in self._nodes:
                await asyncio.to_thread(node.start)
            try:
                yield
            finally:
                for process in self._instances:
                    if process.returncode is None:
                        process.kill()
                        await process.wait()
                for node in self._nodes:
                    node.signal(signal.SIGCONT)
                    node.stack.close()

    def _configure(self) -> None:
        """Write the configurations of the servers as they have to be now."""
        routes = ", ".join(f'"nats://127.0.0.1:{node.cluster}"' for node in self._nodes)
        for node in self._nodes:
            node.config.write_text(
                self._access.config(
                    cluster=node.cluster,
                    monitor=node.monitor,
                    websocket=node.websocket,
                    routes=routes,
                )
            )

    def _reload(self) -> None:
        """Let the servers read their configurations again."""
        self._configure()
        for node in self._nodes:
            node.signal(signal.SIGHUP)

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

    async def _faults(self, seconds: float) -> None:
        """Cause faults for some seconds; the last one ends by itself."""
        end = time.monotonic() + seconds
        kinds = [
            *(self._freeze, self._lame_duck, self._replace, self._replace),
            *(self._certificates, self._password, self._permission),
        ]
        while True:
            self._chance.shuffle(kinds)
            for kind in kinds:
                if time.monotonic() > end:
                    return
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
        self.seen.faults["restart"] += 1
        node = self._chance.choice(self._nodes)
        with self._excuse():
            node.signal(signal.SIGKILL if self._chance.random() < 0.5 else signal.SIGTERM)
            await asyncio.sleep(self._chance.uniform(0, 3))
            await node.gone()
        await asyncio.sleep(SETTLING)

    async def _freeze(self) -> None:
        # The first freeze is short, so that a short run has every kind.
        seconds = self._chance.choice((1, 3, 8, 40) if self.seen.faults["freeze"] else (1, 3))
        self.seen.faults["freeze"] += 1
        node = self._chance.choice(self._nodes)
        with self._excuse():
            node.signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                node.signal(signal.SIGCONT)
        await asyncio.sleep(SETTLING)

    async def _lame_duck(self) -> None:
        self.seen.faults["lame duck"] += 1
        node = self._chance.choice(self._nodes)
        with self._excuse():
            node.signal(signal.SIGUSR2)
            await node.gone()
        await asyncio.sleep(SETTLING)

    async def _replace(self) -> None:
        """Replace an instance, never the oldest; no request may fail for that."""
        self.seen.faults["replace"] += 1
        new = await self._launch()
        old = self._instances.pop(self._chance.randrange(1, len(self._instances)))
        self._instances.append(new)
        old.send_signal(signal.SIGTERM)
        began = time.monotonic()
        code = await asyncio.wait_for(old.wait(), 60)
        if code != 0 or time.monotonic() - began > 40:
            elapsed = time.monotonic() - began
            self.seen.violations.append(f"an instance ended with {code} after {elapsed:.1f} s")

    async def _certificates(self) -> None:
        """Renew all certificates, for which no request may fail; then a server restarts."""
        self._access.renew_certificates()
        self._reload()
        self.seen.faults["certificates"] += 1
        await self._restart()

    async def _password(self) -> None:
        """Change the password of the instances, whose connections the servers end."""
        old = self._access.password
        with self._excuse():
            self._access.change_password()
            self._reload()
            async with asyncio.timeout(20):
                while await self._admitted(old):
                    await asyncio.sleep(0.1)
            self.seen.faults["password"] += 1
        await asyncio.sleep(SETTLING)

    async def _admitted(self, password: str) -> bool:
        """Return whether some server still takes a password."""
        for node in self._nodes:
            settings = [*self._access.caller()[:1], options.user_password("service", password)]
            with contextlib.suppress(micro.ConnectError):
                async with micro.Context() as ctx:
                    await ctx.connect(options.servers(node.url), *settings)
                return True
        return False

    async def _permission(self) -> None:
        """Forbid the instances to serve an endpoint, until none does, and permit it again."""
        subject = f"faults.{WITHDRAWN}"
        with self._excuse():
            self._access.denied = [subject]
            self._reload()
            async with asyncio.timeout(20):
                while await self._is_served(subject):
                    await asyncio.sleep(0.1)
            self.seen.faults["permission"] += 1
            await asyncio.sleep(self._chance.uniform(0, 3))
            self._access.denied = []
            self._reload()
        await asyncio.sleep(SETTLING)

    async def _is_served(self, subject: str) -> bool:
        # Other servers of the cluster may not learn that nobody is there: then nothing answers.
        try:
            await self._ctx.client.request(subject, b"", timeout=1)
        except nats.errors.Error:
            return False
        return True

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
        over_websocket = self._launched % 2 == 1
        self._launched += 1
        urls = [f"wss://127.0.0.1:{node.websocket}" for node in self._nodes]
        if over_websocket:
            self.seen.faults["WebSocket instance"] += 1
        else:
            urls = [node.url for node in self._nodes]
        self._chance.shuffle(urls)  # they begin with different servers
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(str(PROGRAM), ",".join(urls), f"access={self._access.folder}"),
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

    def _check_kinds(self) -> None:
        for kind in KINDS:
            if not self.seen.faults[kind]:
                self.seen.violations.append(f"no {kind} has happened")

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
        print(f"excused      {dict(seen.excused)} (a server or an operator was at fault)")
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
