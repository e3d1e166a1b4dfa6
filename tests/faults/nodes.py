"""The servers of the soak."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from micro.testing import NatsServer, nats_server


@dataclass
class Node:
    """A server that comes back on the same port."""

    port: int
    cluster: int
    monitor: int
    websocket: int
    config: Path
    server: NatsServer | None = None
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def url(self) -> str:
        """Where to connect to."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, again if need be."""
        server = nats_server("-c", str(self.config), port=self.port)
        self.server = self.stack.enter_context(server)

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
