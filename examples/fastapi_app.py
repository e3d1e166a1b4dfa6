"""Services and clients in a FastAPI application.

Run it with `uvicorn --app-dir examples fastapi_app:app`, and open http://127.0.0.1:8000/sum?a=1&b=2
or http://127.0.0.1:8000/internal/metrics.
"""

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

import micro
from micro.adapters.fastapi import MicroClient, ObservabilityApp, lifespan


class Pair(BaseModel):
    a: int
    b: int


async def add(pair: Pair) -> int:
    if pair.a < 0 or pair.b < 0:
        raise micro.ServiceError(422, "negative number")
    return pair.a + pair.b


async def setup(ctx: micro.Context) -> None:
    service = await ctx.add_service("math", "1.0.0", description="Sums")
    await service.add_endpoint("add", add, "math.add")


app = FastAPI(lifespan=lifespan(setup))
app.mount("/internal", ObservabilityApp())  # /internal/healthz, /readyz and /metrics


@app.get("/sum")
async def total(client: MicroClient, a: int, b: int) -> int:
    try:
        return await client.call("math.add", Pair(a=a, b=b), returns=int)
    except micro.ServiceError as error:
        raise HTTPException(error.code, error.description) from error
