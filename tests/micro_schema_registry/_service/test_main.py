"""`python -m micro_schema_registry` as a process."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from nats.aio.client import Client
from tests.micro_schema_registry.jetstream import JetStreamServer, single

from micro.testing import free_port
from micro_schema_registry import (
    EmbeddedRegistry,
    NatsRegistryClient,
    RegistryConnectionError,
)
from micro_schema_registry._service.config import SETTINGS

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-W", "error", "-m", "micro_schema_registry"]
CLEAN = {name: text for name, text in os.environ.items() if not name.startswith("REGISTRY_")}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=CLEAN | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_it_serves_until_it_is_told_to_stop(
    jetstream: JetStreamServer, nc: Client, bucket: str
) -> None:
    prefix = f"registry-{uuid.uuid4().hex}"
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("--server", jetstream.url, "--group", prefix, "--allow-delete"),
        env=CLEAN | {"REGISTRY_BUCKET": bucket, "REGISTRY_GROUP": "of the environment"},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        while f"serving {prefix}.> from bucket {bucket}" not in (
            line := (await process.stderr.readline()).decode()
        ):
            assert line, "ended before it served"
        client = NatsRegistryClient(nc, "g", prefix=prefix, timeout=20)
        made = await client.register_schema("user", {"type": "string"})
        assert await client.get_schema("user") == made
        await client.delete_artifact("user")
    finally:
        process.send_signal(signal.SIGTERM)
        await process.communicate()

    assert process.returncode == 0
    with pytest.raises(RegistryConnectionError, match="no service listens"):
        await client.get_schema("user")


async def test_ids_are_skipped_by_a_command(
    jetstream: JetStreamServer, nc: Client, bucket: str
) -> None:
    registry = EmbeddedRegistry(nc, "g", bucket=bucket)
    before = await registry.register_schema("a", {"type": "string"})

    done = await asyncio.to_thread(
        run, "--server", jetstream.url, "--bucket", bucket, "--skip-ids-to", "12345"
    )

    assert done.returncode == 0
    assert done.stdout == f"ids of bucket {bucket} go on after 12345\n"
    after = await registry.register_schema("b", {"type": "int"})
    assert (after.content_id, after.global_id) == (12346, 12347)
    assert await registry.get_schema("a") == before
    assert [each.artifact_id for each in await registry.list_artifacts()] == ["a", "b"]


def test_a_bucket_that_cannot_be_reached_ends_the_command_with_one_line(tmp_path: Path) -> None:
    with single(tmp_path, jetstream=False) as server:
        done = run("--server", server.url, "--skip-ids-to", "5")

    assert done.returncode == 1
    assert done.stderr.endswith("JetStream is not enabled on the server, or not for this account\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--url", "nowhere"],
            "micro_schema_registry: invalid url 'nowhere': expected one like 'http://host/apis/registry/v3'",
        ),
        (
            ["--replicas", "x"],
            "micro_schema_registry: invalid REGISTRY_REPLICAS 'x': expected a whole number",
        ),
        (["--group", "a b"], "micro: invalid group name 'a b': "),
        (
            ["--url", "https://127.0.0.1", "--ca-file", "missing.pem"],
            "micro_schema_registry: cannot use missing.pem: expected PEM files: ",
        ),
        (["--skip-ids-to", "0"], "micro_schema_registry: invalid id 0: expected 1 to 2^63-1"),
    ],
)
def test_a_mistake_is_one_line(jetstream: JetStreamServer, arguments: list[str], line: str) -> None:
    done = run(*arguments, NATS_URL=jetstream.url)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(line)
    assert "Traceback" not in done.stderr


def test_a_server_that_is_not_there_is_one_line() -> None:
    done = run("--server", f"nats://127.0.0.1:{free_port()}")

    assert done.returncode == 1
    assert re.fullmatch(r"micro: cannot connect to nats://.*\n", done.stderr)


def test_help_names_every_setting_and_has_examples() -> None:
    done = run("--help")

    assert done.returncode == 0
    assert all(f"--{name.replace('_', '-')}" in done.stdout for name in SETTINGS)
    assert "examples:\n  python -m micro_schema_registry\n" in done.stdout


def test_a_missing_extra_is_named_in_one_line() -> None:
    """Without site-packages nothing of the extra is there."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "micro_schema_registry"],
        env=CLEAN | {"PYTHONPATH": str(ROOT / "services")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "'httpx' is missing: pip install 'natsmicro[schema-registry]'" in done.stderr
