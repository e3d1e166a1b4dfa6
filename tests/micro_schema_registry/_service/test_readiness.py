"""The readiness of the service includes the answer of its registry."""

from __future__ import annotations

import pytest

import micro
import micro_schema_registry
from micro import options
from micro.health import Health
from micro.testing import nats_server
from micro_schema_registry import ServiceConfig


@pytest.mark.parametrize("jetstream", [True, False])
async def test_readiness_is_whether_the_registry_answers(jetstream: bool) -> None:
    with nats_server(jetstream=jetstream) as server:
        async with micro.Context() as ctx:
            await ctx.connect(options.servers(server.url))
            await micro_schema_registry.setup(ctx, ServiceConfig())
            report = await Health(ctx, timeout=10).ready()

    assert (report.checks["schema-registry"] == "ok") is jetstream
