"""A schema registry that needs only NATS.

Run: NATS_URL=nats://127.0.0.1:4222 python examples/registry_embedded.py
The server needs JetStream: `nats-server -js`.
"""

import asyncio
import os
from typing import Any

import nats

from micro_schema_registry import EmbeddedRegistry, IncompatibleSchemaError

USER: dict[str, Any] = {
    "type": "record",
    "name": "User",
    "fields": [{"name": "id", "type": "string"}],
}
WITH_COUNTRY = {
    **USER,
    "fields": [*USER["fields"], {"name": "country", "type": "string", "default": ""}],
}
WITH_AGE = {**USER, "fields": [*USER["fields"], {"name": "age", "type": "int"}]}


async def main() -> None:
    nc = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    try:
        async with EmbeddedRegistry(nc, "my-group") as registry:
            await registry.set_rule("COMPATIBILITY", "BACKWARD")

            first = await registry.register_schema("User", USER)
            again = await registry.register_schema("User", USER)
            print(f"version {first.version}, the same again: {first == again}")

            second = await registry.register_schema("User", WITH_COUNTRY)
            print(f"version {second.version} adds a field with a default")

            try:
                await registry.register_schema("User", WITH_AGE)
            except IncompatibleSchemaError as error:
                print(f"refused: {error.causes[0]}")

            known: dict[str, Any] = await registry.get_schema_by_global_id(second.global_id)
            print("by id:", [field["name"] for field in known["fields"]])
    finally:
        await nc.close()


if __name__ == "__main__":
    asyncio.run(main())
