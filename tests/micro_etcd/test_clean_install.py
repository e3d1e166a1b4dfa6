"""The package as it is installed without the extra `etcd`."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from micro.testing import nats_server

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, sys
import micro
from micro_etcd import EtcdUnavailableError, NatsEtcd

async def main():
    async with micro.Context() as ctx:
        await ctx.connect(micro.options.servers(sys.argv[1]))
        etcd = NatsEtcd(ctx, "app", timeout=0.2)
        try:
            await etcd.get("key")
        except EtcdUnavailableError as error:
            print(error)

asyncio.run(main())
UNWANTED = ("grpc", "google", "micro_etcd._service", "micro_etcd._direct", "micro_etcd._cluster")
print(sorted(name for name in sys.modules if name.startswith(UNWANTED)))
try:
    from micro_etcd import EtcdClient
except ModuleNotFoundError as error:
    print(error)
"""


@pytest.mark.slow
def test_nats_etcd_works_without_grpc_and_the_direct_client_names_the_extra(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    install = ["-m", "pip", "install", "--disable-pip-version-check", "--quiet", str(ROOT)]
    subprocess.run([python, *install], check=True)

    with nats_server() as server:
        ran = subprocess.run(
            [python, "-c", PROGRAM, server.url],
            check=True,
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )

    assert ran.stdout.splitlines() == [
        "no etcd service listens on 'etcd.app.kv.get'",
        "[]",
        "micro_etcd: No module named 'google': pip install 'natsmicro[etcd]'",
    ]


@pytest.mark.slow
def test_the_program_without_the_extra_ends_with_one_line(tmp_path: Path) -> None:
    blocked = "import sys; sys.modules['grpc'] = None"
    (tmp_path / "sitecustomize.py").write_text(blocked)
    ran = subprocess.run(
        [sys.executable, "-m", "micro_etcd", "--help"],
        check=False,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path)},
    )

    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert "pip install 'natsmicro[etcd]'" in ran.stderr
