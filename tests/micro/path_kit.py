"""Connections that take one path or the other, whatever the environment says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient

from micro._wire import fast_transport

PATHS = ("fast", "public")

Connect = Callable[..., Coroutine[Any, Any, NatsClient]]


async def ignore(error: Exception) -> None:
    return


@asynccontextmanager
async def connections(path: str, kind: type[NatsClient] = NatsClient) -> AsyncIterator[Connect]:
    """Yield a function that connects by a path; the connections are closed afterwards."""
    opened: list[NatsClient] = []

    async def connect(url: str, **keywords: Any) -> NatsClient:
        client = kind()
        opened.append(client)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(fast_transport.VARIABLE, path)
            fast_transport.install(client, [url])
        assert (fast_transport.fast(client) is not None) == (path == "fast")
        await client.connect(**{"servers": url, "error_cb": ignore, **keywords})
        return client

    yield connect
    for client in opened:
        if not client.is_closed:
            # nats-py's own transport raises these when it is dead, or has much to send.
            with contextlib.suppress(OSError, TypeError, asyncio.CancelledError):
                await client.close()
