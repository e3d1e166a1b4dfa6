"""The page and the example of the embedded registry run as written."""

import asyncio
import os
import re
import sys
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from collections.abc import Awaitable
from inspect import CO_COROUTINE
from pathlib import Path
from types import FunctionType
from typing import Any, cast

import pytest
from nats.aio.client import Client
from tests.micro_schema_registry.jetstream import single

from micro_schema_registry import EmbeddedRegistry

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/registry-embedded.md").read_text()


async def test_the_samples_of_the_page_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = "".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    code = compile(samples, "registry-embedded.md", "exec", PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert code.co_flags & CO_COROUTINE
    with single(tmp_path) as server:
        async with server.connect() as nc:
            names: dict[str, Any] = {"nc": nc}
            await cast(Awaitable[None], FunctionType(code, names)())

    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("1 ")
    assert printed[1].startswith("/fields/age reader field 'age' has no default")


async def test_the_example_runs(tmp_path: Path) -> None:
    with single(tmp_path) as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            ROOT / "examples/registry_embedded.py",
            env={**os.environ, "NATS_URL": server.url},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()

    assert process.returncode == 0
    assert output.decode().splitlines() == [
        "version 1, the same again: True",
        "version 2 adds a field with a default",
        "refused: reader field 'age' has no default and the writer has no such field "
        "at /fields/age",
        "by id: ['id', 'country']",
    ]


async def test_the_permissions_of_the_page_suffice(tmp_path: Path) -> None:
    permissions = re.search(r"publish: .*?\]\nsubscribe: \[.*?\]", PAGE, re.DOTALL)
    assert permissions is not None
    user = f"{{ user: u, password: p, permissions {{ {permissions[0]} }} }}"
    config = f"authorization {{ users: [{user}] }}"
    refused: list[Exception] = []

    async def keep(error: Exception) -> None:
        refused.append(error)

    with single(tmp_path, config=config) as server:
        nc = Client()
        await nc.connect(server.url, user="u", password="p", error_cb=keep)
        registry = EmbeddedRegistry(nc, "g", timeout=5)
        made = await registry.register_schema("A", "true", artifact_type="JSON")
        await registry.set_rule("COMPATIBILITY", "FULL")
        await registry.register_schema(
            "A", "false", "FIND_OR_CREATE_VERSION", artifact_type="JSON", group_id="h"
        )
        assert (await registry.get_content("globalId", made.global_id)).schema is True
        assert (await registry.search_artifacts(content="true")).count == 1
        assert list(await registry.list_groups()) == ["g", "h"]
        await registry.delete_artifact("A")
        await nc.close()

    assert refused == []
