"""Checks in processes of their own: results, time limits, and what a long one costs others."""

import asyncio
import json
import os
import re
import signal
import time

import pytest

from micro_schema_registry._compatibility.checks import CheckFailedError, CheckTimeoutError, run
from micro_schema_registry._compatibility.levels import SchemaText, incompatibilities
from micro_schema_registry._embedded.rules import verdict, verdict_at_once

STRING, NUMBER = SchemaText('{"type": "string"}'), SchemaText('{"type": "number"}')


async def test_a_check_returns_the_result_of_the_function() -> None:
    causes = await run(incompatibilities, "JSON", "BACKWARD", NUMBER, [STRING], timeout=30)

    assert [str(cause) for cause in causes] == ["type string is no longer allowed at #/type"]


async def test_an_error_of_the_function_is_raised_again() -> None:
    with pytest.raises(ValueError, match="not a JSON Schema"):
        await run(incompatibilities, "JSON", "BACKWARD", SchemaText("[1]"), [STRING], timeout=30)


async def test_a_check_over_its_time_is_ended_and_holds_up_nobody() -> None:
    await run(os.getpid, timeout=30)  # the process of the next check is there
    hanging = [asyncio.create_task(run(time.sleep, 60, timeout=1.0)) for _ in range(3)]
    began = time.monotonic()

    assert await run(os.getpid, timeout=30) != os.getpid()
    for task in hanging:
        with pytest.raises(CheckTimeoutError, match="the check took longer than 1 s"):
            await task
    assert time.monotonic() - began < 20


async def test_a_cancelled_check_ends_its_process() -> None:
    task = asyncio.create_task(run(time.sleep, 600, timeout=600))
    await run(os.getpid, timeout=30)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_process_that_dies_is_replaced() -> None:
    with pytest.raises(CheckFailedError, match="ended before it answered"):
        await run(os.abort, timeout=30)

    assert await run(re.escape, ".", timeout=30) == "\\."


async def test_a_process_that_was_killed_meanwhile_fails_one_check_at_most() -> None:
    pid = await run(os.getpid, timeout=30)
    os.kill(pid, signal.SIGKILL)

    for _ in range(2):
        try:
            await run(os.getpid, timeout=30)
        except CheckFailedError:
            continue
    assert await run(os.getpid, timeout=30) != pid


async def test_schemas_that_refer_to_each_other_in_a_long_chain_are_compared() -> None:
    def chain(last: str) -> SchemaText:
        links = [
            f'"m{i}": {{"properties": {{"next": {{"$ref": "#/$defs/m{i + 1}"}}}}}}'
            for i in range(1500)
        ]
        return SchemaText(
            f'{{"$defs": {{{", ".join(links)}, "m1500": {last}}}, "$ref": "#/$defs/m0"}}'
        )

    wider, narrower = chain('{"type": ["string", "null"]}'), chain('{"type": "string"}')

    assert await run(incompatibilities, "JSON", "BACKWARD", wider, [narrower], timeout=30) == ()
    (cause,) = await run(incompatibilities, "JSON", "FORWARD", wider, [narrower], timeout=30)
    assert cause.description == "type null is no longer allowed"


def avro(fields: int, kind: str = "string") -> SchemaText:
    listed = [{"name": f"f{number}", "type": kind} for number in range(fields)]
    return SchemaText(json.dumps({"type": "record", "name": "R", "fields": listed}))


@pytest.mark.parametrize("level", ["NONE", "BACKWARD", "FORWARD", "FULL_TRANSITIVE"])
@pytest.mark.parametrize("new", [avro(2), avro(3), avro(2, "long")], ids=["same", "more", "other"])
def test_small_avro_schemas_get_the_same_verdict_at_once(level: str, new: SchemaText) -> None:
    found = verdict_at_once("AVRO", level, new, [avro(1), avro(2)])

    assert found == verdict("AVRO", level, new, [avro(1), avro(2)])


@pytest.mark.parametrize(
    ("kind", "new"),
    [
        ("AVRO", avro(60)),
        ("JSON", STRING),
        ("PROTOBUF", SchemaText('syntax = "proto3";')),
        ("AVRO", SchemaText('{"type": "nothing"}')),
        ("AVRO", SchemaText("[" * 900 + '"int"' + "]" * 900)),
    ],
    ids=["large", "JSON", "Protobuf", "invalid", "nested"],
)
def test_other_verdicts_are_left_to_a_process(kind: str, new: SchemaText) -> None:
    assert verdict_at_once(kind, "BACKWARD", new, [avro(1)]) is None
