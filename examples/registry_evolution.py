"""Register a schema, evolve it under a rule, and print why a change is refused.

Run it with an Apicurio Registry at REGISTRY_URL, by default
http://localhost:8080/apis/registry/v3. On a new registry it prints:

    version 1 has the fields ['id']
    version 2 has the fields ['id', 'country']
    a change to {'id': 'int'} would be refused
    refused: reader type: INT not compatible with writer type: STRING at /fields/0/type
    newest: version 2
"""

import asyncio
import os
from typing import Any

from micro_schema_registry import AsyncApicurioRegistryClient, IncompatibleSchemaError

URL = os.environ.get("REGISTRY_URL", "http://localhost:8080/apis/registry/v3")


def user(**types: object) -> dict[str, Any]:
    fields = [{"name": name, "type": kind} for name, kind in types.items()]
    return {"type": "record", "name": "User", "fields": fields}


async def main() -> None:
    group = os.environ.get("REGISTRY_GROUP", "examples")
    async with AsyncApicurioRegistryClient(URL, group) as registry:
        first = await registry.register_schema("user", user(id="string"))
        show(first.version, first.schema)

        await registry.set_rule("COMPATIBILITY", "BACKWARD", artifact_id="user")
        grown = user(id="string", country="string")
        grown["fields"][1]["default"] = "FR"
        second = await registry.register_schema("user", grown)
        show(second.version, second.schema)

        if not await registry.check_compatibility("user", user(id="int")):
            print("a change to {'id': 'int'} would be refused")
        try:
            await registry.register_schema("user", user(id="int"))
        except IncompatibleSchemaError as error:
            print("refused:", *error.causes)

        newest = await registry.get_schema("user")
        print("newest: version", newest.version)


def show(version: object, schema: dict[str, list[dict[str, object]]]) -> None:
    print(f"version {version} has the fields {[field['name'] for field in schema['fields']]}")


if __name__ == "__main__":
    asyncio.run(main())
