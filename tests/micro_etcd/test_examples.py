"""The example programs print what their authors meant."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from micro_etcd.testing import EtcdServer

FOLDER = Path(__file__).parents[2] / "examples"
PRINTED = {
    "etcd_keys.py": ("3\n{'/shop/apples': '3', '/shop/pears': '5'}\nsold\n2 ['2', '5']\n"),
    "etcd_watch.py": (
        "PUT /lamp/hall None -> on\nPUT /lamp/hall on -> off\nDELETE /lamp/hall off -> \n"
    ),
    "etcd_lock.py": (
        "written under the lock: True\nlost: True\nlock 'report' was lost before it was released\n"
    ),
    "etcd_election.py": "leader: ada, ready\nleader: bob, ready\n",
}


@pytest.mark.parametrize("name", sorted(PRINTED))
async def test_example(name: str, shared_server: EtcdServer) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        FOLDER / name,
        env={**os.environ, "ETCD": str(shared_server.address)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)

    assert (out.decode(), err.decode()) == (PRINTED[name], "")
    assert process.returncode == 0


def test_every_example_is_tested() -> None:
    assert {path.name for path in FOLDER.glob("etcd_[a-z]*.py")} >= set(PRINTED)
