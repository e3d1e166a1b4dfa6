"""A cancelled caller never costs a connection, of an own or a given client, with tokens or not."""

import asyncio
import json

import httpx
import pytest
from tests.micro_http.conftest import serving

from micro_schema_registry import AsyncApicurioRegistryClient, KeycloakAuth

SIZE = 4  # connections of the pool
TURNS = 60


class Registry:
    """A registry and token endpoint; artifacts named `meet` wait until SIZE requests are there."""

    def __init__(self) -> None:
        self.inside = 0
        self.met = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            _, _, rest = head.partition("content-length: ")
            await reader.readexactly(int(rest.split("\r\n")[0]) if rest else 0)
            path = head.split(" ")[1]
            if "/token" in path:
                body = json.dumps({"access_token": "t", "expires_in": 0})
            else:
                await self.meet(path)
                body = '{"type": "string"}'
            ids = "X-Registry-GlobalId: 1\r\nX-Registry-ContentId: 1\r\n"
            writer.write(
                f"HTTP/1.1 200 OK\r\n{ids}X-Registry-ArtifactType: AVRO\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )

    async def meet(self, path: str) -> None:
        if "meet" not in path:
            return
        self.inside += 1
        if self.inside >= SIZE:
            self.met.set()
        await self.met.wait()


@pytest.mark.parametrize("with_tokens", [False, True])
async def test_a_cancelled_fetch_costs_no_connection(with_tokens: bool) -> None:
    registry = Registry()
    async with serving(registry) as url:
        http = httpx.AsyncClient(
            limits=httpx.Limits(max_connections=SIZE), timeout=httpx.Timeout(20, pool=10)
        )
        auth = KeycloakAuth(f"{url}/token", "me", "secret") if with_tokens else None
        client = AsyncApicurioRegistryClient(url, "g", http_client=http, auth=auth, max_retries=0)
        async with http, client:
            for turn in range(TURNS):
                fetches = [
                    asyncio.create_task(client.get_schema(f"{turn}-{number}"))
                    for number in range(8)
                ]
                for number, fetch in enumerate(fetches):
                    for _ in range(turn if number == 0 else 1):
                        await asyncio.sleep(0)
                    fetch.cancel()
                await asyncio.gather(*fetches, return_exceptions=True)

            await asyncio.gather(*(client.get_schema(f"meet-{n}") for n in range(SIZE)))

    assert registry.inside == SIZE
