"""The pages of service and contracts are true; their samples and examples run."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from tests.micro_schema_registry.conftest import running
from tests.micro_schema_registry.jetstream import JetStreamServer

import micro
from micro_schema_registry import NatsRegistryClient, ServiceConfig
from micro_schema_registry._service.config import SETTINGS
from micro_schema_registry._wire import problems

ROOT = Path(__file__).parents[3]
SERVICE = (ROOT / "docs/registry-service.md").read_text()
CONTRACTS = (ROOT / "docs/contracts.md").read_text()


def samples(page: str) -> dict[str, Any]:
    """Run the Python of a page and return what it defines."""
    names: dict[str, Any] = {"__name__": "sample"}
    code = "".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    exec(compile(code, "sample", "exec"), names)
    return names


async def test_the_samples_of_the_service_page_run(
    new_jetstream: JetStreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(f"REGISTRY_{name.upper()}", raising=False)
    names = samples(SERVICE)
    async with micro.Context() as ctx:
        await ctx.connect(micro.options.servers(new_jetstream.url))
        await names["setup"](ctx)
        await names["use"](ctx.client)

        held = await NatsRegistryClient(ctx.client, "my-group").get_schema("user")

    assert held.schema == names["USER"]


async def test_the_sample_of_the_contracts_page_runs(new_jetstream: JetStreamServer) -> None:
    async with micro.Context() as ctx:
        await ctx.connect(micro.options.servers(new_jetstream.url))
        await samples(CONTRACTS)["setup"](ctx)
        info = await micro.Client(ctx.client).info("shop", max_wait=20, max_count=1)

    assert re.fullmatch(
        r"JSON;global=\d+;content=\d+;sha256=\w{64}",
        info[0].endpoints[0].metadata["schema.request"],
    )


async def test_the_example_prints_what_it_says(new_jetstream: JetStreamServer) -> None:
    path = ROOT / "examples/contracts.py"
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    done = subprocess.run(
        [sys.executable, "-W", "error", path],
        env=os.environ | {"NATS_URL": new_jetstream.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.stderr, done.returncode) == ("", 0)
    expected = [line[4:] for line in docstring.splitlines() if line.startswith("    ")]
    assert done.stdout.splitlines() == expected


def test_every_setting_is_in_the_table() -> None:
    table = SERVICE[SERVICE.index("| setting") : SERVICE.index("## Endpoints")]

    assert set(
        re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))
    ) == set(SETTINGS)


def test_every_kind_of_problem_is_in_the_tables() -> None:
    table = SERVICE[SERVICE.index("| `type`") :]
    documented = set(re.findall(r"^\| `([\w-]+)` \| \d|^\| `([\w-]+)` \| as", table, re.MULTILINE))
    kinds = {first or second for first, second in documented}
    in_module = set(re.findall(r"^([a-z-]+)  +", problems.__doc__ or "", re.MULTILINE))

    assert kinds == in_module - {"type"}


async def test_every_endpoint_is_in_the_table(
    jetstream: JetStreamServer, nc: Client, bucket: str
) -> None:
    table = SERVICE[SERVICE.index("| subject") : SERVICE.index("Every change, and")]
    subjects = re.findall(
        r"`(?:registry\.v1)?\.([\w.-]+)`",
        "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)),
    )
    async with running(jetstream, ServiceConfig(bucket=bucket)) as ctx:
        info = await micro.Client(ctx.client).info("schema-registry", max_wait=20, max_count=1)

    served = {each.subject.removeprefix("registry.v1.") for each in info[0].endpoints}
    assert served - {"events.*.*"} == set(subjects)
