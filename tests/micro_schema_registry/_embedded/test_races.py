"""The embedded registry when many clients register at once."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.micro_schema_registry.jetstream import JetStreamServer

from micro_schema_registry._compatibility.levels import SchemaText, incompatibilities
from micro_schema_registry._embedded.registry import EmbeddedRegistry
from micro_schema_registry._errors import (
    IncompatibleSchemaError,
    SchemaExistsError,
    SchemaRegistrationError,
)
from micro_schema_registry._model.models import CachedSchema

_CONNECTIONS = 8
_RACERS = 40


def schema(number: int) -> dict[str, Any]:
    """Return a record that is compatible with itself only, by a field without default."""
    kind = {"type": "fixed", "name": f"F{number}", "size": number + 1}
    fields = [{"name": "id", "type": "string"}, {"name": "value", "type": kind}]
    return {"type": "record", "name": "R", "fields": fields}


@pytest.fixture
async def racers(jetstream: JetStreamServer, bucket: str) -> AsyncIterator[list[EmbeddedRegistry]]:
    """Clients of one new bucket over several connections; the bucket is made in the race, too."""
    async with AsyncExitStack() as stack:
        connections = [
            await stack.enter_async_context(jetstream.connect()) for _ in range(_CONNECTIONS)
        ]
        yield [
            EmbeddedRegistry(connections[index % _CONNECTIONS], "g", bucket=bucket)
            for index in range(_RACERS)
        ]


async def race(*calls: Any) -> list[Any]:
    """Run calls at once, in any order; return what they give or raise."""
    return await asyncio.gather(*random.sample(calls, len(calls)), return_exceptions=True)


async def test_equal_content_gets_one_version_however_many_register_it(
    racers: list[EmbeddedRegistry],
) -> None:
    made: list[CachedSchema] = await race(
        *(racer.register_schema("A", schema(i % 10)) for i, racer in enumerate(racers))
    )

    versions = {cached.version: cached for cached in made}
    assert versions.keys() == {str(n) for n in range(1, 11)}
    assert len({cached.global_id for cached in made}) == 10
    assert len({cached.content_id for cached in made}) == 10
    assert len({cached.content for cached in made}) == 10
    for cached in made:
        assert (
            await racers[0].get_schema("A", version=cached.version)
            == cached
            == versions[cached.version]
        )
    assert (await racers[0].list_versions("A")).count == 10


async def test_every_create_version_gets_its_own(racers: list[EmbeddedRegistry]) -> None:
    made = await race(
        *(racer.register_schema("A", schema(0), "CREATE_VERSION") for racer in racers)
    )

    assert {cached.version for cached in made} == {str(n + 1) for n in range(_RACERS)}
    assert len({cached.global_id for cached in made}) == _RACERS
    assert len({cached.content_id for cached in made}) == 1


async def test_fail_and_version_names_have_one_winner(racers: list[EmbeddedRegistry]) -> None:
    outcomes = await race(
        *(r.register_schema("A", schema(i), "FAIL") for i, r in enumerate(racers))
    )
    assert sum(isinstance(o, CachedSchema) for o in outcomes) == 1
    assert sum(isinstance(o, SchemaExistsError) for o in outcomes) == _RACERS - 1

    outcomes = await race(
        *(r.register_schema("B", schema(i), version="v") for i, r in enumerate(racers))
    )
    assert sum(isinstance(o, CachedSchema) for o in outcomes) == 1
    assert sum(isinstance(o, SchemaExistsError) for o in outcomes) == _RACERS - 1


@pytest.mark.parametrize("level", ["BACKWARD", "FORWARD", "FULL_TRANSITIVE"])
async def test_versions_that_break_the_rule_together_never_get_in_together(
    racers: list[EmbeddedRegistry], level: str
) -> None:
    await racers[0].set_rule("COMPATIBILITY", level)
    for artifact_id in ("A", "B", "C"):
        outcomes = await race(
            *(r.register_schema(artifact_id, schema(i)) for i, r in enumerate(racers))
        )

        refused = [o for o in outcomes if isinstance(o, IncompatibleSchemaError)]
        assert len(refused) == _RACERS - 1
        assert all(error.causes for error in refused)
        assert (await racers[0].list_versions(artifact_id)).count == 1


async def test_a_rule_that_is_set_in_the_middle_holds_from_there_on(
    racers: list[EmbeddedRegistry],
) -> None:
    await racers[0].register_schema("A", schema(99))

    async def set_rule() -> int:
        await racers[0].set_rule("COMPATIBILITY", "BACKWARD", artifact_id="A")
        return (await racers[0].list_versions("A", limit=500)).count

    *outcomes, count = await asyncio.gather(
        *(r.register_schema("A", schema(i)) for i, r in enumerate(racers)),
        set_rule(),
        return_exceptions=True,
    )

    # Whoever decided before the rule was set, but was not done, had to decide again.
    assert (await racers[0].list_versions("A", limit=500)).count == count
    made = [o for o in outcomes if isinstance(o, CachedSchema)]
    assert count == len(made) + 1
    assert len(made) + sum(isinstance(o, IncompatibleSchemaError) for o in outcomes) == _RACERS


async def test_states_deletions_and_registrations_race_in_some_order(
    racers: list[EmbeddedRegistry],
) -> None:
    for number in range(5):
        await racers[0].register_schema("A", schema(number))

    outcomes = await race(
        *(r.register_schema("A", schema(5 + i)) for i, r in enumerate(racers[:10])),
        *(r.set_state("A", str(n), "DISABLED") for n, r in enumerate(racers[10:13], 1)),
        *(r.delete_version("A", str(n)) for n, r in enumerate(racers[13:15], 4)),
    )

    assert not [o for o in outcomes if isinstance(o, Exception)]
    versions = (await racers[0].list_versions("A", limit=100)).items
    assert [(v.version, v.state) for v in versions[:3]] == [(n, "DISABLED") for n in "123"]
    assert [v.version for v in versions[3:]] == [str(n) for n in range(6, 16)]


async def test_random_evolutions_leave_only_histories_that_the_rule_allows(
    racers: list[EmbeddedRegistry],
) -> None:
    """Writers add and drop fields; every accepted pair is checked again afterwards."""
    await racers[0].set_rule("COMPATIBILITY", "FULL_TRANSITIVE", everywhere=True)

    def evolved() -> dict[str, Any]:
        names = random.sample("abcdef", random.randint(0, 4))
        kinds = [random.choice(["int", "string"]) for _ in names]
        fields: list[dict[str, Any]] = [
            {
                "name": n,
                "type": k,
                **({"default": 0 if k == "int" else ""} if random.random() < 0.8 else {}),
            }
            for n, k in zip(names, kinds, strict=True)
        ]
        return {"type": "record", "name": "R", "fields": fields}

    for _ in range(3):
        outcomes = await race(*(racer.register_schema("A", evolved()) for racer in racers))
        assert all(isinstance(o, CachedSchema | IncompatibleSchemaError) for o in outcomes)

    versions = (await racers[0].list_versions("A", limit=500)).items
    assert [v.version for v in versions] == [str(n + 1) for n in range(len(versions))]
    texts = [
        SchemaText((await racers[0].get_schema("A", version=v.version)).content) for v in versions
    ]
    for index, text in enumerate(texts):
        assert not incompatibilities("AVRO", "FULL_TRANSITIVE", text, texts[:index])


async def test_one_artifact_cannot_be_of_two_types(racers: list[EmbeddedRegistry]) -> None:
    kinds = ["AVRO", "JSON"]
    outcomes = await race(
        *(
            r.register_schema("A", schema(i), artifact_type=kinds[i % 2])
            for i, r in enumerate(racers)
        )
    )

    made = [o for o in outcomes if isinstance(o, CachedSchema)]
    assert len({cached.artifact_type for cached in made}) == 1
    assert len(made) == _RACERS // 2
    assert sum(type(o) is SchemaRegistrationError for o in outcomes) == _RACERS // 2
