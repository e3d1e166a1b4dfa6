"""The shortest ways to a client and to one request."""

from typing import Unpack

from micro_http._client import AsyncResilientClient
from micro_http._engine.context import RequestContext
from micro_http._engine.policy import RetryPolicy
from micro_http._httpx import httpx
from micro_http._options import URL, ClientOptions, Timeout, UntimedRequestOptions


def create_async_resilient_client(
    policy: RetryPolicy | None = None, **options: Unpack[ClientOptions]
) -> AsyncResilientClient:
    """Return a new client, to be opened with `async with`."""
    return AsyncResilientClient(policy, **options)


async def simple_async_request(
    method: str,
    url: URL,
    *,
    max_retries: int = 2,
    timeout: Timeout = 10.0,
    **options: Unpack[UntimedRequestOptions],
) -> httpx.Response:
    """Send one request through a client of its own and return the response.

    Args:
        method: HTTP method.
        url: Absolute URL.
        max_retries: Retries after a connection error.
        timeout: httpx time-out of each phase of one try, in seconds; None waits for ever.
        options: Passed to `httpx.AsyncClient.request`.

    Raises:
        httpx.HTTPError: The error of the last try.
    """
    async with AsyncResilientClient(timeout=timeout) as client:
        context = RequestContext(max_retries=max_retries)
        return await (await client.request(method, url, context=context, **options))
