"""Avro over NATS: headers name the schema, and the reader decodes with its own version.

Run it with an Apicurio Registry at REGISTRY_URL and a nats-server at NATS_URL; the defaults are
on localhost. It prints:

    3 bytes of application/avro
    {'id': 'u1', 'country': 'FR'}
"""

import asyncio
import os

import nats
from nats.aio.msg import Msg

from micro_schema_registry import AsyncApicurioRegistryClient
from micro_schema_registry.avro import (
    AsyncAvroDeserializer,
    AsyncAvroSerializer,
    SimpleTopicIdStrategy,
)
from micro_schema_registry.serialization import SerializationContext, WireFormat

URL = os.environ.get("REGISTRY_URL", "http://localhost:8080/apis/registry/v3")
GROUP = os.environ.get("REGISTRY_GROUP", "examples")
USERS = SerializationContext("users")  # the subject is also the artifact id
USER = {"type": "record", "name": "User", "fields": [{"name": "id", "type": "string"}]}
COUNTRY = {"name": "country", "type": "string", "default": "FR"}
READER = {**USER, "fields": [*USER["fields"], COUNTRY]}


async def main() -> None:
    connection = await nats.connect(os.environ.get("NATS_URL", "nats://localhost:4222"))
    async with AsyncApicurioRegistryClient(URL, GROUP) as registry:
        read = AsyncAvroDeserializer(registry, reader_schema=READER)
        received: asyncio.Queue[Msg] = asyncio.Queue()
        await connection.subscribe(USERS.topic, cb=received.put)

        writer = AsyncAvroSerializer(
            registry,
            artifact_resolver=SimpleTopicIdStrategy(),
            schema=USER,
            auto_register=True,
            wire_format=WireFormat.NATS_HEADERS,
        )
        message = await writer.serialize({"id": "u1"}, USERS)
        await connection.publish(USERS.topic, message.payload, headers=message.headers)

        arrived = await received.get()
        headers = arrived.headers or {}
        print(len(arrived.data), "bytes of", headers["Content-Type"])
        print(await read(arrived.data, USERS, headers=headers))
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
