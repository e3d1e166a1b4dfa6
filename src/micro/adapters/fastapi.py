"""A client for the routes of FastAPI. Extra: `fastapi`.

app = FastAPI(lifespan=lifespan(setup))

@app.get("/sum")
async def total(client: MicroClient, a: int, b: int) -> int:
return await client.call("math.add", {"a": a, "b": b}, returns=int)
"""

from __future__ import annotations

from typing import Annotated

from micro import _extras
from micro._client.client import Client
from micro.adapters.asgi import CLIENT, ObservabilityApp, lifespan

try:
    from fastapi import Depends
    from starlette.requests import HTTPConnection
except ModuleNotFoundError as error:
    raise _extras.missing(error, "micro.adapters.fastapi", "fastapi") from None

__all__ = ["MicroClient", "ObservabilityApp", "lifespan", "micro_client"]


def micro_client(connection: HTTPConnection) -> Client:
    """Return the client of `lifespan`; a dependency, which tests may override.

    Raises:
        RuntimeError: The application has another lifespan.
    """
    client: Client | None = getattr(connection.state, CLIENT, None)
    if client is None:
        raise RuntimeError("no client of NATS: expected FastAPI(lifespan=lifespan(setup))")
    return client


MicroClient = Annotated[Client, Depends(micro_client)]
"""The type of a parameter that receives the client."""
