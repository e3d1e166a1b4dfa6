"""Judge verdicts on pairs of JSON Schemas by data: no break may get through.

Within each file of the public JSON-Schema-Test-Suite every schema is compared with every other one,
and with mutations of itself. Instances are those of the file and some that are made from its
schemas. An instance that the old schema allows and the new one refuses proves a break; the count of
breaks that are called compatible has to be 0.

    git clone --depth 1 GITHUB/json-schema-org/JSON-Schema-Test-Suite   # MIT, not part of this
    repository python benchmarks/json_schema_pairs.py JSON-Schema-Test-Suite [DRAFT/FILE]
"""

import argparse
import copy
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema.validators import validator_for
from referencing import Registry
from referencing.jsonschema import DRAFT4, DRAFT6, DRAFT7, DRAFT201909, DRAFT202012

from micro_schema_registry._compatibility.levels import SchemaText, incompatibilities

DRAFTS = {
    "draft4": ("http://json-schema.org/draft-04/schema#", DRAFT4),
    "draft6": ("http://json-schema.org/draft-06/schema#", DRAFT6),
    "draft7": ("http://json-schema.org/draft-07/schema#", DRAFT7),
    "draft2019-09": ("https://json-schema.org/draft/2019-09/schema", DRAFT201909),
    "draft2020-12": ("https://json-schema.org/draft/2020-12/schema", DRAFT202012),
}
ATOMS: list[Any] = [
    None, True, False, 0, 1, -1, 1.0, 1.5, 2, 3, 7, 100, "", "a", "b", "foo", "bar", "x" * 12,
    [], {}, [1], ["a"], [1, 1], [None], {"a": 1}, {"foo": 1}, {"bar": "x"}, [[]], [{}],
]  # fmt: skip
LIMIT = 400


class Suite:
    """The files of one draft, with the documents that they refer to."""

    def __init__(self, root: Path, draft: str) -> None:
        self.uri, specification = DRAFTS[draft]
        self.folder = root / "tests" / draft
        self.remotes: dict[str, Any] = {}
        registry: Registry[Any] = Registry()
        for path in sorted((root / "remotes").rglob("*.json")):
            relative = path.relative_to(root / "remotes").as_posix()
            if relative.startswith("draft") and not relative.startswith(f"{draft}/"):
                continue
            content = json.loads(path.read_text())
            if isinstance(content, dict) and "$schema" not in content:
                content = {"$schema": self.uri, **content}
            uri = f"http://localhost:1234/{relative}"
            self.remotes[uri] = content
            registry = registry.with_resource(uri, specification.create_resource(content))
        self.registry = registry

    def schemas(self, path: Path) -> Iterator[tuple[Any, list[Any]]]:
        """Yield the schemas of a file with the instances of their tests."""
        for case in json.loads(path.read_text()):
            schema = case["schema"]
            if isinstance(schema, dict) and "$schema" not in schema:
                schema = {"$schema": self.uri, **schema}
            yield schema, [test["data"] for test in case["tests"]]

    def text(self, schema: Any) -> SchemaText:
        """Return a schema with the documents that it needs."""
        references: dict[str, str] = {}
        todo = [schema]
        while todo:
            content = json.dumps(todo.pop())
            for uri, remote in self.remotes.items():
                name = uri.rpartition("/")[2]
                if uri not in references and name in content:
                    references[uri] = json.dumps(remote)
                    todo.append(remote)
        return SchemaText(json.dumps(schema), tuple(references.items()))

    def allowed(self, schema: Any, instances: list[Any]) -> tuple[bool | None, ...]:
        """Return for each instance whether it is valid, None where the validator gives up."""
        kind = validator_for(schema)
        validator = kind(schema, registry=self.registry)
        return tuple(_verdict(validator, instance) for instance in instances)


def _verdict(validator: Any, instance: Any) -> bool | None:
    try:
        return bool(validator.is_valid(instance))
    except Exception:  # noqa: BLE001 - a reference without target, a pattern that Python does not know
        return None


def mutations(schema: Any) -> Iterator[Any]:
    """Yield schemas that differ from one in one place."""
    for path, value in _places(schema, ()):
        for other in _others(path, value):
            changed = copy.deepcopy(schema)
            target = changed
            for step in path[:-1]:
                target = target[step]
            if other is _GONE:
                del target[path[-1]]
            else:
                target[path[-1]] = other
            yield changed


_GONE = object()


def _places(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        if key != "$schema":
            yield (*path, key), inner
            yield from _places(inner, (*path, key))


def _others(path: tuple[Any, ...], value: Any) -> Iterator[Any]:
    yield _GONE
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
        if value > 0:
            yield value - 1
    elif value in ("string", "integer", "number", "object", "array"):
        yield "null"
        yield "number"
    elif isinstance(value, dict) and path[-1] not in {"properties", "$defs", "definitions"}:
        yield {"type": "string"}
        if "additionalProperties" not in value:
            yield {**value, "additionalProperties": False}
            yield {**value, "unevaluatedProperties": False}
            yield {**value, "required": ["foo"]}


def made(schema: Any, rng: random.Random, depth: int = 0) -> Any:
    """Return an instance that has to do with a schema, valid or not."""
    if not isinstance(schema, dict) or depth > 4 or rng.random() < 0.1:
        return rng.choice(ATOMS)
    if "enum" in schema and isinstance(schema["enum"], list) and schema["enum"]:
        return rng.choice(schema["enum"])
    if "const" in schema:
        return schema["const"]
    for keyword in rng.sample(["allOf", "anyOf", "oneOf"], 3):
        branches = schema.get(keyword)
        if isinstance(branches, list) and branches and rng.random() < 0.6:
            drawn = [made(branch, rng, depth + 1) for branch in branches]
            objects = [value for value in drawn if isinstance(value, dict)]
            if len(objects) > 1 and rng.random() < 0.7:
                return {key: value for one in objects for key, value in one.items()}
            return rng.choice(drawn)
    keys = schema.keys()
    if keys & {
        "properties",
        "required",
        "patternProperties",
        "additionalProperties",
        "dependentSchemas",
        "dependencies",
    }:
        return _made_object(schema, rng, depth)
    if keys & {"items", "prefixItems", "contains", "minItems", "maxItems", "uniqueItems"}:
        return _made_array(schema, rng, depth)
    numbers = [value for value in schema.values() if isinstance(value, int | float)]
    if numbers and rng.random() < 0.8:
        number = rng.choice(numbers)
        return rng.choice(
            [number, number + 1, number - 1, number * 2, "a" * min(20, max(0, int(number)))]
        )
    return rng.choice(ATOMS)


def _made_object(schema: dict[str, Any], rng: random.Random, depth: int) -> Any:
    instance: dict[str, Any] = {}
    properties = schema.get("properties", {})
    names = list(properties if isinstance(properties, dict) else [])
    names += [name for name in schema.get("required", []) if isinstance(name, str)]
    for name in names:
        if rng.random() < 0.7:
            instance[name] = made(properties.get(name), rng, depth + 1)
    if rng.random() < 0.4:
        instance[rng.choice(["foo", "bar", "baz", "a", "x", "foooo", "aaa"])] = rng.choice(ATOMS)
    return instance


def _made_array(schema: dict[str, Any], rng: random.Random, depth: int) -> Any:
    parts = schema.get("prefixItems", schema.get("items", {}))
    parts = parts if isinstance(parts, list) else [parts]
    rest = schema.get("contains", parts[-1] if parts else {})
    return [
        made(parts[i] if i < len(parts) else rest, rng, depth + 1) for i in range(rng.randrange(5))
    ]


def instances_of(schemas: list[Any], given: list[Any], rng: random.Random) -> list[Any]:
    """Return the instances of a file, some of every type, and some made from its schemas."""
    drawn = [*given, *ATOMS]
    defs = [s for schema in schemas for s in _subschemas(schema)]
    while len(drawn) < LIMIT and defs:
        drawn.append(made(rng.choice(defs), rng))
    unique = {json.dumps(value, sort_keys=True): value for value in drawn}
    return list(unique.values())


def _subschemas(schema: Any) -> Iterator[Any]:
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from _subschemas(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _subschemas(value)


def judge_file(suite: Suite, path: Path, counts: Counter[str], *, mutated: bool) -> None:
    """Compare the schemas of a file and count what the data say of the verdicts."""
    rng = random.Random(path.name)  # the same instances in each run
    cases = list(suite.schemas(path))
    schemas = [schema for schema, _ in cases]
    instances = instances_of(schemas, [data for _, tests in cases for data in tests], rng)
    if mutated:
        pairs = []
        for schema in schemas:
            for other in mutations(schema):
                pairs += [(schema, other), (other, schema)]
    else:
        pairs = [(a, b) for i, a in enumerate(schemas) for j, b in enumerate(schemas) if i != j]
    known: dict[str, Any] = {}

    def allowed(schema: Any) -> Any:
        key = json.dumps(schema)
        if key not in known:
            known[key] = suite.allowed(schema, instances)
        return known[key]

    for old, new in pairs:
        judge(suite, (old, new), instances, allowed, counts, path)


def judge(
    suite: Suite, pair: Any, instances: list[Any], allowed: Any, counts: Counter[str], path: Path
) -> None:
    """Compare one pair with what the data say."""
    old, new = pair
    began = time.perf_counter()
    try:
        causes = incompatibilities("JSON", "BACKWARD", suite.text(new), [suite.text(old)])
    except ValueError as error:
        counts["invalid"] += 1
        if "-v" in sys.argv:
            print("INVALID", path.name, str(error)[:150])
        return
    took = time.perf_counter() - began
    counts["slow"] += took > 1
    counts["pairs"] += 1
    before, after = allowed(old), allowed(new)
    breaks = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a and b is False]
    if not causes and breaks:
        counts["BREAK"] += 1
        shown = json.dumps({"old": old, "new": new, "instance": instances[breaks[0]]})
        print(f"BREAK {path.parent.name}/{path.name} {shown[:700]}", flush=True)
    elif causes and not breaks and (True in before):
        counts["refused without a counterexample"] += 1
        if "-r" in sys.argv:
            print("REFUSED", path.name, json.dumps([old, new])[:500], [str(c) for c in causes][:2])
    counts["compatible" if not causes else "incompatible"] += 1
    counts["at the root"] += new is not False and any(len(cause.context) < 2 for cause in causes)
    counts["without a place"] += any(not cause.context.startswith("#") for cause in causes)


def main() -> None:
    """Judge all files, or one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("suite", type=Path)
    parser.add_argument("only", nargs="?", default="")
    parser.add_argument("--mutations", action="store_true")
    parser.add_argument("-v", action="store_true")
    parser.add_argument("-r", action="store_true")
    given = parser.parse_args()
    total: Counter[str] = Counter()
    for draft in DRAFTS:
        suite = Suite(given.suite, draft)
        for path in sorted(suite.folder.glob("*.json")):
            if given.only in f"{draft}/{path.name}":
                judge_file(suite, path, total, mutated=given.mutations)
        print(draft, dict(total), flush=True)
    sys.exit(total["BREAK"] > 0)


if __name__ == "__main__":
    main()
