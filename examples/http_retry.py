"""Call a server that starts late; events and a result report the retries.

Prints:

    retry 1 of 5 after ConnectError
    retry 2 of 5 after ConnectError
    200 late but here
    3 attempts
"""

import asyncio
import socket

from micro_http import AsyncEvent, EventType, RequestContext, create_async_resilient_client


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\nlate but here")
    await writer.drain()
    writer.close()


async def main() -> None:
    port = free_port()
    servers: list[asyncio.Server] = []

    async def on_retry(event: AsyncEvent) -> None:
        context = event.context
        retry = f"retry {context.current_attempt} of {context.max_retries}"
        print(f"{retry} after {type(event.error).__name__}")
        if context.current_attempt == 2:
            servers.append(await asyncio.start_server(answer, "127.0.0.1", port))

    async with create_async_resilient_client() as client:
        client.add_event_callback(EventType.RETRY, on_retry)
        context = RequestContext(max_retries=5, base_delay=0.1, request_id="hello")
        task = await client.get(f"http://127.0.0.1:{port}/", context=context)
        response = await task
        print(response.status_code, response.text)
        result = client.get_result("hello")
        assert result is not None
        print(f"{result.attempts} attempts")
    servers[0].close()


if __name__ == "__main__":
    asyncio.run(main())
