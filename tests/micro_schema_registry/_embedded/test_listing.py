"""Lists of artifacts: complete, current, and cheap after the first."""

import asyncio
from contextlib import suppress

import pytest
from nats.aio.client import Client
from tests.streams import fresh_stream

from micro_schema_registry import EmbeddedRegistry

MANY = 300
NAMES = [f"R{number:03}" for number in range(MANY)]


async def names(registry: EmbeddedRegistry) -> list[str]:
    return [info.artifact_id for info in await registry.list_artifacts(limit=1000)]


@pytest.fixture
async def full(embedded: EmbeddedRegistry) -> EmbeddedRegistry:
    """Return a registry of many artifacts."""
    await asyncio.gather(*(embedded.register_schema(name, {"type": "int"}) for name in NAMES))
    return embedded


async def test_every_artifact_is_listed_once_in_order(
    full: EmbeddedRegistry, nc: Client, bucket: str
) -> None:
    await full.register_schema(NAMES[7], {"type": "string"})
    reader = EmbeddedRegistry(nc, "my-group", bucket=bucket)

    assert await names(reader) == NAMES
    page = await reader.list_artifacts(offset=MANY - 1, limit=5)
    assert ([info.artifact_id for info in page], page.count) == ([NAMES[-1]], MANY)


async def test_changes_of_other_clients_are_listed_at_once(
    full: EmbeddedRegistry, nc: Client, bucket: str
) -> None:
    reader = EmbeddedRegistry(nc, "my-group", bucket=bucket)
    assert len(await names(reader)) == MANY

    await full.delete_artifact(NAMES[0])
    await full.register_schema("A", {"type": "int"}, labels={"team": "a"})

    assert await names(reader) == ["A", *NAMES[1:]]
    assert (await reader.search_artifacts(labels={"team": "a"})).count == 1
    await full.register_schema(NAMES[0], {"type": "long"})
    assert await names(reader) == ["A", *NAMES]


async def test_a_second_list_reads_no_artifact_again(full: EmbeddedRegistry, nc: Client) -> None:
    await full.list_artifacts()
    sent = nc.stats["out_msgs"]

    await full.list_artifacts()

    assert nc.stats["out_msgs"] == sent + 1


async def test_a_list_that_is_cut_off_is_continued_by_the_next(
    full: EmbeddedRegistry, nc: Client, bucket: str
) -> None:
    """Callers that wait too short a time get the list all the same, after some attempts."""
    reader = EmbeddedRegistry(nc, "my-group", bucket=bucket)
    attempts, listed = 0, None
    while listed is None:
        attempts += 1
        with suppress(TimeoutError):
            async with asyncio.timeout(0.02):
                listed = await names(reader)

    assert attempts > 1
    assert listed == NAMES


async def test_a_bucket_that_was_made_anew_is_listed_anew(
    full: EmbeddedRegistry, nc: Client, bucket: str
) -> None:
    assert len(await names(full)) == MANY
    js = nc.jetstream()
    await js.delete_stream(f"KV_{bucket}")
    await fresh_stream(js, f"KV_{bucket}", f"$KV.{bucket}.>")
    await js.delete_stream(f"KV_{bucket}")

    await EmbeddedRegistry(nc, "my-group", bucket=bucket).register_schema("New", {"type": "int"})

    assert await names(full) == ["New"]
