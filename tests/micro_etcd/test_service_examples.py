"""The examples for services print what their authors meant."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.micro_etcd.service import instance

from micro_etcd.testing import EtcdServer

FOLDER = Path(__file__).parents[2] / "examples"
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
