"""Middlewares for logging, access by header and timing: `python examples/middleware.py`."""

import hmac
import logging
import os
import time

import micro

logger = logging.getLogger("orders")


async def log_requests(request: micro.Request, next: micro.NextHandler) -> micro.Response:
    try:
        response = await next(request)
    except micro.ServiceError as error:
        logger.warning("%s: %d %s", request.subject(), error.code, error.description)
        raise
    logger.info("%s: %d bytes", request.subject(), len(response.data()))
    return response


def require_token(secret: str) -> micro.Middleware:
    async def check(request: micro.Request, next: micro.NextHandler) -> micro.Response:
        given = request.headers().get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {secret}".encode()):
            raise micro.ServiceError(401, "missing or wrong token")
        return await next(request)

    return check


async def add_timing(request: micro.Request, next: micro.NextHandler) -> micro.Response:
    began = time.perf_counter()
    response = await next(request)
    response.add_header("Elapsed-Ms", f"{(time.perf_counter() - began) * 1000:.3f}")
    return response


async def create(request: micro.Request) -> None:
    await request.respond(b"created")


async def health(request: micro.Request) -> None:
    await request.respond(b"ok")


async def setup(ctx: micro.Context) -> None:
    secret = os.environ.get("ORDERS_TOKEN", "example")
    service = await ctx.add_service("orders", "1.0.0", middlewares=[log_requests])
    await service.add_endpoint("health", health, subject="orders.health")
    guarded = service.add_group("orders", middlewares=[require_token(secret)])
    await guarded.add_endpoint("create", create, middlewares=[add_timing])


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    micro.run(setup, trap_signals=True)
