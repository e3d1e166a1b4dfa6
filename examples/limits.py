"""Limits on running and waiting requests, and a caller that retries."""

import asyncio

import micro


async def render(request: micro.Request) -> None:
    await asyncio.sleep(0.2)
    await request.respond(b"picture")


async def setup(ctx: micro.Context) -> None:
    service = await ctx.add_service("pictures", "1.0.0", max_in_flight=100)
    await service.add_endpoint(
        "render",
        render,
        max_in_flight=2,  # requests that run; 1 keeps the order of arrival
        pending_msgs_limit=4,  # requests that wait; the seventh request is refused
        timeout=5,  # seconds; then the handler is cancelled, and its caller receives 504
    )


async def patient(client: micro.Client, subject: str, attempts: int = 20) -> bytes:
    """Send a request again while the service is overloaded."""
    for _ in range(attempts):
        try:
            return (await client.request(subject, timeout=5)).data
        except micro.ServiceError as error:
            if error.code != 503:
                raise
            await asyncio.sleep(float(error.headers.get("Retry-After", "1")))
    raise TimeoutError(f"{subject} stayed overloaded")


if __name__ == "__main__":
    micro.run(setup, trap_signals=True)
