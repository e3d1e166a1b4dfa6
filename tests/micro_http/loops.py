"""Use clients in several event loops and print the outcomes as JSON; run by test_lifecycle.py.

The connections that a stopped loop leaves open are reported by asyncio as ResourceWarning, so this
runs in a process of its own.
"""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from micro_http import AsyncResilientClient, AsyncRetryTransport, EventType, RetryPolicy


class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def runs(call: Callable[[], Awaitable[httpx.Response]]) -> list[str]:
    """Return the outcomes of three event loops, one after the other."""

    async def main() -> str:
        try:
            return str((await call()).status_code)
        except Exception as error:  # noqa: BLE001 - the outcome to report
            return type(error).__name__

    return [asyncio.run(main()) for _ in range(3)]


def main(url: str) -> None:
    client = AsyncResilientClient()
    registry = AsyncResilientClient(RetryPolicy.for_registry())
    retrying = httpx.AsyncClient(transport=AsyncRetryTransport())
    given = AsyncResilientClient(transport=httpx.AsyncHTTPTransport())
    events: list[str] = []
    client.add_event_callback(EventType.SUCCESS, lambda event: events.append(event.event_type))

    async def with_events() -> httpx.Response:
        response = await (await client.get(url))
        await client.wait_for_all_requests()
        return response

    async def request(client: AsyncResilientClient) -> httpx.Response:
        return await (await client.get(url))

    outcomes = {
        "client": runs(with_events),
        "registry policy": runs(lambda: request(registry)),
        "transport": runs(lambda: retrying.get(url)),
        "given transport": runs(lambda: request(given)),
        "events": events,
    }
    print(json.dumps(outcomes))


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        main(f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()
