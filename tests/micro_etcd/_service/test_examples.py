"""The examples for services print what their authors meant."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.micro_etcd.service import instance

from micro_etcd import NatsEtcd
from micro_etcd.testing import EtcdServer

FOLDER = Path(__file__).parents[3] / "examples"
PRINTED = {
    "etcd_config.py": (
        'greeting salut "salut ada" 0 None\n'
        'times 0 "salut ada" 1 times: Input should be greater than or equal to 1\n'
        'times 2 "salut salut ada" 1 None\n'
    ),
    "etcd_leader.py": (
        "ada leads, lost: False\nada is done\nbob leads, lost: False\nbob is done\n"
    ),
}


@pytest.mark.parametrize("name", sorted(PRINTED))
async def test_example(name: str, server_url: str, shared_server: EtcdServer, prefix: str) -> None:
    rules = {"demo": {"prefix": prefix, "allow": ["all"]}}
    async with instance(server_url, shared_server, rules):
        running = await asyncio.create_subprocess_exec(
            sys.executable,
            "-W",
            "error",
            FOLDER / name,
            env={**os.environ, "NATS_URL": server_url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(running.communicate(), 60)
    assert out.decode() == PRINTED[name], err.decode()
    assert running.returncode == 0


def samples(page: str) -> list[str]:
    text = (FOLDER.parent / "docs" / page).read_text()
    return [part.partition("```")[0] for part in text.split("```python\n")[1:]]


async def test_samples_of_the_service_page(
    server_url: str, shared_server: EtcdServer, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from_python, program = samples("etcd-service.md")
    rules = {"billing": {"prefix": prefix, "allow": ["all"]}}
    async with instance(server_url, shared_server, rules) as serving:
        etcd = NatsEtcd(serving.ctx, "billing")
        # The sample's watch never ends; here its first event does.
        body = from_python.replace("event.value)", "event.value)\n    break")
        names: dict[str, Any] = {"ctx": serving.ctx}
        indented = "\n".join(f"    {line}" for line in body.splitlines())
        exec(f"async def sample(ctx):\n{indented}\n", names)
        running = asyncio.create_task(names["sample"](serving.ctx))
        while not running.done():
            await etcd.put("rates/eur", "1")
            await asyncio.sleep(0.05)
        await running
        assert await etcd.get("last") == "4711"
    printed = capsys.readouterr().out
    assert printed.startswith("{'rate': '0.19'")
    assert printed.endswith("rates/eur 1\n")
    compile(program, "program", "exec")
    chosen: dict[str, Any] = {}
    exec(program.partition("micro.run")[0], chosen)
    assert chosen["settings"].namespaces["app"].allow == {"get", "watch"}
