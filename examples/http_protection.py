"""Protect a struggling server with a circuit breaker, a retry budget and a deadline.

Prints:

    circuit open: http://orders.test
    the server saw 5 requests instead of 30
"""

import asyncio

import httpx

from micro_http import (
    AsyncResilientClient,
    CircuitBreaker,
    CircuitOpenError,
    RetryBudget,
    RetryPolicy,
    no_delays,
)

policy = RetryPolicy(
    max_retries=2,
    statuses=frozenset({503}),
    deadline=10.0,
    try_timeout=2.0,
    budget=RetryBudget(ratio=0.1, burst=10),
    breaker=CircuitBreaker(failures=5, open_for=30.0),
)
seen: list[httpx.Request] = []


def overloaded(request: httpx.Request) -> httpx.Response:
    seen.append(request)
    return httpx.Response(503, headers={"Retry-After": "5"})


async def main() -> None:
    refusals: list[CircuitOpenError] = []
    async with AsyncResilientClient(policy, transport=httpx.MockTransport(overloaded)) as client:
        for _ in range(10):
            try:
                await (await client.get("http://orders.test/"))
            except CircuitOpenError as refused:
                refusals.append(refused)
    print(f"circuit open: {refusals[0].origin}")
    print(f"the server saw {len(seen)} requests instead of 30")


if __name__ == "__main__":
    with no_delays():
        asyncio.run(main())
