"""The service tells whoever asks for readiness whether etcd answers."""

import asyncio

from tests.micro_etcd.guarded import APP, guarded
from tests.micro_etcd.service import instance
from tests.micro_etcd.versions import Binaries, every_version

from micro.health import Health
from micro.testing import nats_server
from micro_etcd.testing import EtcdServer


async def test_readiness_is_whether_etcd_answers() -> None:
    etcd = EtcdServer()
    with nats_server() as server, etcd:
        async with instance(server.url, etcd, {}) as running:
            health = Health(running.ctx, timeout=10)
            with_etcd = await health.ready()
            await asyncio.to_thread(etcd.kill)
            without = await health.ready()

    assert with_etcd.checks["etcd"] == "ok"
    assert without.checks["etcd"] != "ok"


@every_version
async def test_an_idle_service_stays_ready_when_its_token_expires(binaries: Binaries) -> None:
    with nats_server() as server, guarded(binaries) as etcd:
        async with instance(server.url, etcd, {}, credentials=APP) as running:
            await asyncio.sleep(3)  # tokens live for 1 s
            state = await Health(running.ctx, timeout=10).ready()

    assert state.checks["etcd"] == "ok"
