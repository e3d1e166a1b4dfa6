"""A program that registers a schema and is killed between writing the version and the head.

Arguments: server URL, bucket, artifact id, schema as JSON.
"""

import asyncio
import os
import sys
from typing import Any

from nats.aio.client import Client
from nats.js import JetStreamContext

from micro_schema_registry._embedded.registry import EmbeddedRegistry

STATUS = 9


class DyingConnection(Client):
    """Be a connection whose process ends just before a head is sent."""

    def jetstream(self, **options: Any) -> JetStreamContext:
        return JetStreamContext(self, **options)

    async def request(self, subject: str, *args: Any, **options: Any) -> Any:
        if subject.startswith("$KV.") and ".h." in subject:
            os._exit(STATUS)
        return await super().request(subject, *args, **options)


async def main(url: str, bucket: str, artifact_id: str, schema: str) -> None:
    nc = DyingConnection()
    await nc.connect(url)
    await EmbeddedRegistry(nc, "g", bucket=bucket).register_schema(artifact_id, schema)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
