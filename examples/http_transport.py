"""Use a retry policy in any httpx client, asynchronous or blocking.

Prints:

    httpx.Client: 200 after 3 tries
    httpx.AsyncClient: 200 after 3 tries
"""

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from micro_http import AsyncRetryTransport, RetryPolicy, RetryTransport, Try

tries: list[Try] = []
policy = RetryPolicy.for_registry(max_retries=3, retry_backoff_ms=20, retry_max_backoff_ms=200)


class BusyTwice(BaseHTTPRequestHandler):
    """Answer 503 to the first two of three requests."""

    seen = 0

    def do_GET(self) -> None:
        BusyTwice.seen += 1
        self.send_response(200 if BusyTwice.seen % 3 == 0 else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def blocking(url: str) -> None:
    with httpx.Client(transport=RetryTransport(policy, observers=[tries.append])) as client:
        print(f"httpx.Client: {client.get(url).status_code} after {tries[-1].number} tries")


async def awaiting(url: str) -> None:
    transport = AsyncRetryTransport(policy, observers=[tries.append])
    async with httpx.AsyncClient(transport=transport) as client:
        response = await client.get(url)
        print(f"httpx.AsyncClient: {response.status_code} after {tries[-1].number} tries")


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), BusyTwice) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        blocking(f"http://127.0.0.1:{server.server_port}/")
        asyncio.run(awaiting(f"http://127.0.0.1:{server.server_port}/"))
        server.shutdown()
