"""Generated clients: their schemas equal those of the service, and they can be called."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import types
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient
from pydantic import TypeAdapter
from tests.micro._documents import kinds

import micro
from micro._documents.operations import newest
from micro._documents.python_client import python_client
from micro.adapters import msgpack


def described(kind: Any) -> dict[str, str]:
    """Return the metadata of an endpoint that takes and returns a type."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    return {
        "micro.request.schema": json.dumps(adapter.json_schema(mode="validation")),
        "micro.response.schema": json.dumps(adapter.json_schema(mode="serialization")),
    }


def info_of(kinds: list[Any], **changes: Any) -> micro.ServiceInfo:
    endpoints = [
        micro.EndpointInfo(
            name=f"e{number:03}", subject=f"s.e{number:03}", metadata=described(kind)
        )
        for number, kind in enumerate(kinds)
    ]
    given = {"name": "kinds", "id": "A", "version": "1.0.0", "endpoints": endpoints, **changes}
    return micro.ServiceInfo.model_validate(given)


def load(code: str, name: str = "generated_client") -> types.ModuleType:
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(code, name, "exec"), vars(module))
    return module


def schemas(module: types.ModuleType, api: str, method: str) -> tuple[Any, Any]:
    signature = inspect.signature(getattr(vars(module)[api], method), eval_str=True)
    annotation: Any = signature.parameters["payload"].annotation
    payload: TypeAdapter[Any] = TypeAdapter(annotation)
    answer: TypeAdapter[Any] = TypeAdapter(signature.return_annotation)
    return payload.json_schema(mode="validation"), answer.json_schema(mode="serialization")


@pytest.mark.parametrize("kind", kinds.KINDS, ids=str)
def test_schemas_of_the_generated_types_equal_those_of_the_service(kind: Any) -> None:
    code = python_client(info_of([kind]))
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    request, response = schemas(load(code), "Kinds", "e000")
    assert request == adapter.json_schema(mode="validation"), code
    assert response == adapter.json_schema(mode="serialization"), code


def test_one_module_has_all_kinds_and_each_class_once() -> None:
    code = python_client(info_of(kinds.KINDS))
    module = load(code)
    for number, kind in enumerate(kinds.KINDS):
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
        request, response = schemas(module, "Kinds", f"e{number:03}")
        assert request == adapter.json_schema(mode="validation")
        assert response == adapter.json_schema(mode="serialization")
    assert code.count("class Inner(") == 1


def test_same_service_gives_the_same_bytes_with_the_hashes_of_its_schemas() -> None:
    endpoints = info_of(kinds.KINDS).endpoints
    one = python_client(info_of([], endpoints=endpoints))
    other = python_client(info_of([], id="B", endpoints=endpoints[::-1]))
    changed = python_client(info_of([*kinds.KINDS[:-1], bytearray | None][:-1]))

    assert one == other
    assert one.partition('"""\n')[0] != changed.partition('"""\n')[0]
    assert "e000 request   " in one


def test_generated_module_passes_mypy_strict(tmp_path: Path) -> None:
    path = tmp_path / "client.py"
    path.write_text(python_client(info_of(kinds.KINDS)))
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", str(path)]
    done = subprocess.run(
        [*command, "--cache-dir", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


async def echo(given: kinds.Everything) -> kinds.Everything:
    """Return what was given."""
    return given


async def odd(given: kinds.Odd) -> kinds.Defaults:
    return kinds.Defaults()


async def same(data: bytes) -> bytes:
    return data


async def now() -> int:
    return 5


async def rows(count: int) -> AsyncIterator[kinds.Inner]:
    for number in range(count):
        yield kinds.Inner(a=number)


async def raw(request: micro.Request) -> None:
    await request.respond(b"raw")


async def test_generated_client_calls_the_service(nc: NatsClient) -> None:
    async with micro.add_service(nc, "every-thing", "1.0.0", "Has everything.") as service:
        group = service.add_group("every")
        await group.add_endpoint("echo", echo, metadata={"description": "Return it."})
        await group.add_endpoint("odd", odd, codec=msgpack.codec)
        for handler in (same, now, raw, rows):
            await group.add_endpoint(handler.__name__, handler)
        await group.add_group("again").add_endpoint("now", now)
        await group.add_endpoint("all", raw, subject="*.all")
        client = micro.Client(nc, 0.3)
        module = load(python_client(newest(await client.info("every-thing"))))
        bound = client.bind(module.EveryThing)

        values = {
            "a": {"value": 1, "children": [{"value": 2}]},
            "b": [{"a": 1}],
            "c": {"x": {"items": [{"a": 1}], "total": 1}},
            "d": {"kind": "cat"},
            "e": None,
            "f": {"x": 1},
            "g": [1, "a"],
            "h": {"depth": 1},
            "i": ["a"],
            "j": {"a": {"b": 1}},
            "k": "dark blue",
            "l": {"x": 1},
            "m": [None],
            "n": 1,
            "o": ["w"],
            "p": "1",
            "q": [1, "a"],
            "r": {"a": 1},
            "s": [1, 2],
            "t": ["a"],
            "u": {"items": [1]},
        }
        answer = await bound.echo(module.Everything.model_validate(values))
        expected = kinds.Everything.model_validate(values)
        assert answer.model_dump_json(by_alias=True) == expected.model_dump_json(by_alias=True)
        odd_one = {"x-y": 1, "class": "c", "Inner": {"a": 1}, "1st": "f"}
        assert (await bound.odd(module.Odd.model_validate(odd_one))).color.value == "red"
        assert await bound.same(b"\xff") == b"\xff"
        assert (await bound.now(), await bound.every_now()) == (5, 5)
        assert await bound.raw(b"") == b"raw"
        assert [each.a async for each in bound.rows(2)] == [0, 1]
        assert module.EveryThing.__doc__ == "Has everything."
        assert module.EveryThing.echo.__doc__ == "Return it."


def test_hashes_in_place_of_schemas_are_refused() -> None:
    endpoint = {"name": "e", "subject": "e", "metadata": {"micro.request.schema.sha256": "x"}}
    with pytest.raises(micro.ConfigError, match="only hashes of its schemas"):
        python_client(info_of([], endpoints=[endpoint]))
    with pytest.raises(micro.ConfigError, match="no endpoints"):
        python_client(info_of([]))


@pytest.mark.parametrize(
    "schema",
    [
        "no json",
        "[]",
        '{"type": ["integer", "null"]}',
        '{"type": "object", "properties": {"a": {"$ref": "#/$defs/Absent"}}}',
        '{"type": "object", "properties": {"a\\nb": {"type": "odd"}, "": {}, "é": true}}',
        '{"oneOf": [{"type": "integer"}, {"type": "string"}]}',
        '{"$defs": {"A-b.c": {"type": "object", "properties": {}}}, "$ref": "#/$defs/A-b.c"}',
        '{"title": "\\"\\"\\"\\nimport os", "description": "\\"\\"\\"\\n", "type": "object", '
        '"properties": {}}',
    ],
)
def test_schemas_of_other_services_give_a_module_that_can_be_imported(schema: str) -> None:
    metadata = {"micro.request.schema": schema, "description": 'a"""b\\'}
    endpoint = {"name": "get-it", "subject": "get.it", "metadata": metadata}
    module = load(python_client(info_of([], version="v1", endpoints=[endpoint])))
    assert inspect.iscoroutinefunction(module.Kinds.get_it)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        (["1.2.0", "1.10.0"], "1.10.0"),
        (["1.0.0-rc.1", "1.0.0"], "1.0.0"),
        (["odd", "0.1.0"], "0.1.0"),
    ],
)
def test_newest_version_describes_the_service(versions: list[str], expected: str) -> None:
    assert newest(info_of([], version=each) for each in versions).version == expected
