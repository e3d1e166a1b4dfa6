"""Keep one registry client in a FastAPI application, and validate requests by a JSON Schema.

Run it with `uvicorn examples.registry_fastapi:app` and an Apicurio Registry at REGISTRY_URL. Run
as a script, it calls itself and prints:

    200 accepted
    422 expected type: "integer" at $.quantity
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, HTTPException, Request

from micro_schema_registry import AsyncApicurioRegistryClient, InvalidPayloadError
from micro_schema_registry.json_schema import JsonSchemaValidator

URL = os.environ.get("REGISTRY_URL", "http://localhost:8080/apis/registry/v3")
GROUP = os.environ.get("REGISTRY_GROUP", "examples")
ORDER = {"type": "object", "properties": {"quantity": {"type": "integer"}}}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with AsyncApicurioRegistryClient(URL, GROUP) as registry:
        schema = await registry.register_schema("order", ORDER, artifact_type="JSON")
        app.state.orders = JsonSchemaValidator(schema.schema)
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/orders")
async def order(request: Request, body: dict[str, Any]) -> str:
    try:
        request.app.state.orders.validate(body)
    except InvalidPayloadError as error:
        raise HTTPException(422, "; ".join(map(str, error.causes))) from error
    return "accepted"


async def main() -> None:
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://shop") as http,
    ):
        for quantity in (3, "three"):
            answer = await http.post("/orders", json={"quantity": quantity})
            text = answer.json()
            print(answer.status_code, text if answer.is_success else text["detail"])


if __name__ == "__main__":
    asyncio.run(main())
