"""A small HTTP server for health checks and metrics, with bounds on connections and time."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

from micro._errors import MicroError

logger = logging.getLogger("micro.http_server")

MAX_HEAD = 8192
"""Limit on the bytes of a request before its body."""

MAX_CONNECTIONS = 64
"""Limit on connections at the same time; further ones are closed at once."""

JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """The answer to a GET request."""

    body: bytes
    content_type: str = JSON
    status: HTTPStatus = HTTPStatus.OK

    @classmethod
    def of_status(cls, status: HTTPStatus) -> Answer:
        """Return an answer that says no more than its status."""
        return cls(f'{{"status": "{status.phrase.lower()}"}}'.encode(), status=status)


Route = Callable[[Mapping[str, str]], Awaitable[Answer]]
"""An async function of the headers (names in lower case) that returns the answer."""


class HttpServer:
    """A server of GET and HEAD requests; an async context manager.

    Args:
        routes: The function of each path.
        host: The address to listen on.
        port: The port; 0 for a free one.
        purpose: The reason of the server, for errors.
        timeout: Seconds that a connection may take in all.
    """

    def __init__(
        self, routes: Mapping[str, Route], host: str, port: int, *, purpose: str, timeout: float
    ) -> None:
        self._routes = routes
        self._address = host, port
        self._purpose = purpose
        self._timeout = timeout
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        if self._server is None:
            return self._address[1]
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            MicroError: The address cannot be listened on.
        """
        host, port = self._address
        try:
            self._server = await asyncio.start_server(self._accept, host, port, limit=MAX_HEAD)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else error
            raise MicroError(
                f"cannot listen on {host}:{port} for {self._purpose}: {reason}"
            ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._tasks) >= MAX_CONNECTIONS:  # asyncio calls this in a task
            writer.close()
            return
        self._tasks.add(task)
        try:
            async with asyncio.timeout(self._timeout):
                writer.write(await self._reply(reader))
                await writer.drain()
        except (OSError, TimeoutError) as error:
            logger.debug("%s: %s", self._purpose, str(error) or type(error).__name__)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _reply(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return _encode(Answer.of_status(HTTPStatus.BAD_REQUEST))
        lines = head.decode("latin-1").split("\r\n")
        line = lines[0].split(" ")
        if len(line) != 3 or not line[2].startswith("HTTP/1."):
            return _encode(Answer.of_status(HTTPStatus.BAD_REQUEST))
        route = self._routes.get(line[1].partition("?")[0])
        if route is None:
            return _encode(Answer.of_status(HTTPStatus.NOT_FOUND))
        if line[0] not in ("GET", "HEAD"):
            refusal = Answer.of_status(HTTPStatus.METHOD_NOT_ALLOWED)
            return _encode(refusal, extra="Allow: GET, HEAD\r\n")
        headers = (header.partition(":") for header in lines[1:])
        answer = await route({name.lower(): value.strip() for name, _, value in headers})
        return _encode(answer, with_body=line[0] == "GET")


def _encode(answer: Answer, *, with_body: bool = True, extra: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        f"Cache-Control: no-store\r\n{extra}"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + (answer.body if with_body else b"")
