"""A list of operations that every registry is asked, with outcomes that can be compared."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel

from micro_schema_registry import (
    CachedSchema,
    CompatibilityResult,
    IncompatibleSchemaError,
    InvalidSchemaError,
    Page,
    Reference,
    RegistryError,
    SchemaContent,
)
from micro_schema_registry._model.models import content_hash, schema_text

Act = Callable[[Any], Awaitable[Any]]

A: dict[str, Any] = {"type": "record", "name": "A", "fields": [{"name": "id", "type": "string"}]}
A2 = {**A, "fields": [*A["fields"], {"name": "n", "type": "int", "default": 0}]}
A3 = {**A, "fields": [*A["fields"], {"name": "m", "type": "int"}]}
A_REORDERED = dict(reversed(A.items()))
A_DOC = {**A, "doc": "documented"}
B = {"type": "record", "name": "B", "fields": [{"name": "a", "type": "A"}]}
E = {"type": "enum", "name": "E", "symbols": ["X", "Y"]}
J = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
J_BAD = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
P = 'syntax = "proto3";\nmessage M { string id = 1; }\n'
P2 = 'syntax = "proto3";\nmessage M { string id = 1; int32 n = 2; }\n'
P_BAD = 'syntax = "proto3";\nmessage M { int32 id = 1; }\n'
TO_A = Reference(name="A", artifact_id="a", version="1")
TO_NONE = Reference(name="A", artifact_id="none", version="1")
MISSING = 2**52


def register(name: str, schema: Any, *args: Any, **options: Any) -> Act:
    return lambda r: r.register_schema(name, schema, *args, **options)


def get(name: str, version: str | None = None) -> Act:
    return lambda r: r.get_schema(name, version=version)


def state(name: str, version: str, value: str) -> Act:
    return lambda r: r.set_state(name, version, value)


def rule(kind: str, config: str, name: str | None = None) -> Act:
    return lambda r: r.set_rule(kind, config, artifact_id=name)


def check(name: str, schema: Any, **options: Any) -> Act:
    return lambda r: r.check_compatibility(name, schema, **options)


def versions(name: str = "a", **window: int) -> Act:
    return lambda r: r.list_versions(name, **window)


def by_id(kind: str, version: str | None = None, name: str = "a") -> Act:
    async def act(r: Any) -> Any:
        info = await r.get_version(name, version)
        return await r.get_content(kind, info.global_id if kind == "globalId" else info.content_id)

    return act


def references_by_id(kind: str, name: str) -> Act:
    async def act(r: Any) -> Any:
        info = await r.get_version(name)
        value = info.global_id if kind == "globalId" else info.content_id
        return await r.get_content_references(kind, value)

    return act


OPERATIONS: dict[str, list[Act]] = {
    "register and fetch": [register("a", A), get("a"), get("a", "1"), get("a", "branch=latest")],
    "register twice": [register("a", A), register("a", A), versions()],
    "register a change": [register("a", A), register("a", A2), get("a"), get("a", "1"), versions()],
    "register an older version": [register("a", A), register("a", A2), register("a", A)],
    "create a version": [register("a", A), register("a", A, "CREATE_VERSION"), versions()],
    "fail if it exists": [register("a", A, "FAIL"), register("a", A, "FAIL")],
    "an unknown if_exists": [register("a", A, "BOGUS")],
    "name a version": [
        register("a", A, version="1.0"),
        register("a", A2, version="1.0"),
        register("a", A, version="1.0"),
        register("a", A2, version="1.1"),
        get("a", "1.1"),
        versions(),
    ],
    "a version name that cannot be": [register("a", A, version="a b"), get("a", "tag=1")],
    "labels": [register("a", A, labels={"k": "v"}), lambda r: r.get_version("a")],
    "canonical order": [register("a", A), register("a", A_REORDERED, canonical=True), versions()],
    "canonical and doc": [register("a", A_DOC), register("a", A, canonical=True), versions()],
    "verbatim text": [register("a", ' {"type":\n"string"}'), get("a"), by_id("globalId")],
    "a union": [register("a", ["null", "string"]), get("a")],
    "a name": [register("a", '"string"'), get("a")],
    "JSON Schema": [register("a", J, artifact_type="JSON"), get("a"), by_id("globalId")],
    "Protobuf": [register("a", P, artifact_type="PROTOBUF"), get("a"), by_id("globalId")],
    "another type": [register("a", A), register("a", J, artifact_type="JSON")],
    "an unknown type": [register("a", A, artifact_type="BOGUS")],
    "text that is no JSON": [register("a", "{nonsense")],
    "Avro that is no schema": [register("a", {"type": "record"})],
    "a URL": [register("a", "http://127.0.0.1:1/x", artifact_type="PROTOBUF")],
    "blank ids": [register(" ", A), get(""), versions(""), lambda r: r.delete_artifact("")],
    "odd ids": [register("a/b ?#.", A), get("a/b ?#."), versions("a/b ?#.")],
    "dots": [register("..", A), get("..")],
    "a star": [register("*", A), register("ab", A2), versions("*")],
    "an id that is too long": [register("x" * 513, A)],
    "a long id": [register("x" * 512, A), get("x" * 512)],
    "a missing artifact": [
        get("none"),
        get("none", "1"),
        versions("none"),
        lambda r: r.get_version("none"),
        lambda r: r.get_references("none"),
        state("none", "1", "DISABLED"),
        lambda r: r.get_rules(artifact_id="none"),
        rule("VALIDITY", "FULL", "none"),
        lambda r: r.delete_rule("VALIDITY", artifact_id="none"),
        lambda r: r.delete_artifact("none"),
        lambda r: r.delete_version("none", "1"),
    ],
    "a missing version": [
        register("a", A),
        get("a", "9"),
        get("a", "branch=none"),
        lambda r: r.get_version("a", "9"),
        lambda r: r.delete_version("a", "9"),
        state("a", "9", "DISABLED"),
    ],
    "missing ids": [
        lambda r: r.get_content("globalId", MISSING),
        lambda r: r.get_content("contentId", MISSING),
        lambda r: r.get_content("contentHash", "0" * 64),
        lambda r: r.get_content_references("globalId", MISSING),
        lambda r: r.get_content_references("contentId", MISSING),
        lambda r: r.get_schema_by_global_id(MISSING),
        lambda r: r.get_schema_by_content_id(MISSING),
    ],
    "ids": [
        register("a", A),
        by_id("globalId"),
        by_id("contentId"),
        lambda r: r.get_content("contentHash", content_hash(schema_text(A))),
    ],
    "pages of versions": [
        *(register("a", schema) for schema in (A, A2, A3)),
        versions(limit=2),
        versions(offset=2, limit=2),
        versions(offset=9),
    ],
    "pages of artifacts": [
        *(register(name, A) for name in "cab"),
        lambda r: r.list_artifacts(limit=2),
        lambda r: r.list_artifacts(offset=2),
    ],
    "windows that cannot be": [
        lambda r: r.list_artifacts(limit=0),
        lambda r: r.list_artifacts(limit=501),
        lambda r: r.list_artifacts(offset=-1),
        lambda r: r.list_groups(offset=-1),
        register("a", A),
        versions(limit=0),
        versions(offset=-1),
        lambda r: r.search_artifacts(limit=0),
    ],
    "an empty group": [
        lambda r: r.list_artifacts(),
        lambda r: r.get_rules(),
        lambda r: r.search_artifacts(),
        lambda r: r.delete_rule("VALIDITY"),
    ],
    "search": [
        register("order-a", A, labels={"k": "v"}),
        register("order-b", J, artifact_type="JSON"),
        lambda r: r.search_artifacts(name="order"),
        lambda r: r.search_artifacts(name="der-b"),
        lambda r: r.search_artifacts(name="ORDER"),
        lambda r: r.search_artifacts(artifact_type="JSON"),
        lambda r: r.search_artifacts(labels={"k": "v"}),
        lambda r: r.search_artifacts(labels={"k": "w"}),
        lambda r: r.search_artifacts(content=A),
        lambda r: r.search_artifacts(content=A2),
        lambda r: r.search_artifacts(name="order", limit=1),
    ],
    "a search that cannot be": [lambda r: r.search_artifacts(content=A, name="x")],
    "references": [
        register("a", A),
        register("b", B, references=[TO_A]),
        get("b"),
        lambda r: r.get_references("b"),
        lambda r: r.get_references("a"),
        references_by_id("globalId", "b"),
        references_by_id("contentId", "b"),
    ],
    "a missing reference": [register("b", B, references=[TO_NONE])],
    "a missing reference under a rule": [
        rule("INTEGRITY", "REFS_EXIST"),
        register("b", B, references=[TO_NONE]),
        register("a", A),
        register("b", B, references=[TO_A]),
    ],
    "references twice under a rule": [
        register("a", A),
        rule("INTEGRITY", "NO_DUPLICATES"),
        register("b", B, references=[TO_A, TO_A]),
    ],
    "references unmapped under a rule": [
        register("a", A),
        rule("INTEGRITY", "ALL_REFS_MAPPED"),
        register("b", B),
    ],
    "integrity lists": [
        rule("INTEGRITY", "REFS_EXIST,NO_DUPLICATES"),
        lambda r: r.get_rules(),
        rule("INTEGRITY", "REFS_EXIST,BOGUS"),
    ],
    "the same content with other references": [
        register("a", A),
        register("c", {**A, "doc": "c"}),
        register("b", B, references=[TO_A]),
        register("b", B, references=[Reference(name="A", artifact_id="c", version="1")]),
        versions("b"),
    ],
    "disable": [
        register("a", A),
        register("a", A2),
        state("a", "2", "DISABLED"),
        get("a"),
        get("a", "2"),
        lambda r: r.get_version("a", "2"),
        by_id("globalId", "2"),
        by_id("contentId", "2"),
        register("a", A2),
        versions(),
    ],
    "disable all": [register("a", A), state("a", "1", "DISABLED"), get("a"), register("a", A)],
    "deprecate": [register("a", A), state("a", "1", "DEPRECATED"), get("a"), by_id("globalId")],
    "sunset": [
        register("a", A),
        register("a", A2),
        state("a", "2", "SUNSET"),
        get("a"),
        get("a", "2"),
        by_id("globalId", "2"),
    ],
    "enable again": [
        register("a", A),
        state("a", "1", "DISABLED"),
        state("a", "1", "ENABLED"),
        get("a"),
        state("a", "1", "ENABLED"),
    ],
    "make a draft of a version": [register("a", A), state("a", "1", "DRAFT")],
    "an unknown state": [register("a", A), state("a", "1", "BOGUS")],
    "rules of a group": [
        rule("VALIDITY", "FULL"),
        rule("COMPATIBILITY", "FORWARD"),
        lambda r: r.get_rules(),
        lambda r: r.delete_rule("VALIDITY"),
        lambda r: r.delete_rule("VALIDITY"),
        lambda r: r.get_rules(),
    ],
    "rules of an artifact": [
        register("a", A),
        rule("COMPATIBILITY", "BACKWARD", "a"),
        rule("COMPATIBILITY", "FULL", "a"),
        lambda r: r.get_rules(artifact_id="a"),
        lambda r: r.get_rules(),
    ],
    "rules that cannot be": [
        rule("BOGUS", "FULL"),
        rule("VALIDITY", "BOGUS"),
        lambda r: r.get_rules(artifact_id="a", everywhere=True),
    ],
    "validity": [
        rule("VALIDITY", "FULL"),
        register("a", {"type": "record"}),
        register("a", P, artifact_type="JSON"),
        register("p", "message {", artifact_type="PROTOBUF"),
        register("j", {"type": 3}, artifact_type="JSON"),
        check("a", {"type": "record"}),
        register("a", A),
    ],
    "backward": [
        register("a", A),
        rule("COMPATIBILITY", "BACKWARD", "a"),
        check("a", A2),
        check("a", A3),
        register("a", A3),
        register("a", A2),
    ],
    "forward": [
        register("a", A),
        rule("COMPATIBILITY", "FORWARD", "a"),
        check("a", A3),
        check("a", {**A, "fields": []}),
    ],
    "full": [
        register("a", A),
        rule("COMPATIBILITY", "FULL", "a"),
        check("a", A2),
        check("a", A3),
    ],
    "another name": [register("a", A), rule("COMPATIBILITY", "BACKWARD", "a"), check("a", E)],
    "compatibility of JSON Schema": [
        register("a", J, artifact_type="JSON"),
        rule("COMPATIBILITY", "BACKWARD", "a"),
        check("a", J),
        check("a", J_BAD),
        check("a", J_BAD, artifact_type="JSON"),
        register("a", J_BAD, artifact_type="JSON"),
    ],
    "compatibility of Protobuf": [
        register("a", P, artifact_type="PROTOBUF"),
        rule("COMPATIBILITY", "BACKWARD", "a"),
        check("a", P2),
        check("a", P_BAD),
        register("a", P_BAD, artifact_type="PROTOBUF"),
    ],
    "compatibility of a new artifact": [
        rule("COMPATIBILITY", "BACKWARD"),
        check("a", A),
        check("a", P, artifact_type="PROTOBUF"),
        get("a"),
    ],
    "compatibility without rules": [register("a", A), check("a", E), check("a", {"type": "x"})],
    "delete a version": [
        register("a", A),
        register("a", A2),
        lambda r: r.delete_version("a", "2"),
        get("a"),
        get("a", "2"),
        versions(),
        register("a", A2),
    ],
    "delete the only version": [
        register("a", A),
        lambda r: r.delete_version("a", "1"),
        get("a"),
        versions(),
        lambda r: r.list_artifacts(),
    ],
    "delete an artifact": [
        register("a", A),
        lambda r: r.delete_artifact("a"),
        get("a"),
        lambda r: r.list_artifacts(),
        lambda r: r.delete_artifact("a"),
        register("a", A2),
    ],
    "delete what others refer to": [
        register("a", A),
        register("b", B, references=[TO_A]),
        lambda r: r.delete_artifact("a"),
    ],
    "describe": [register("a", A), lambda r: r.get_version("a"), lambda r: r.list_artifacts()],
}


class InGroup:
    """A registry whose calls are for one group."""

    def __init__(self, registry: Any, group_id: str) -> None:
        self._registry = registry
        self._group_id = group_id

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._registry, name)
        if "group_id" not in inspect.signature(method).parameters:
            return method
        return lambda *args, **kwargs: method(*args, group_id=self._group_id, **kwargs)


async def outcomes(registry: Any, group_id: str) -> dict[str, list[Any]]:
    """Return what each act of each operation returns or raises, in a group of its own."""
    answers = {}
    for number, (name, acts) in enumerate(OPERATIONS.items()):
        group = f"{group_id}-{number}"
        client = InGroup(registry, group)
        answers[name] = [await _outcome(act, client, group) for act in acts]
    return answers


async def _outcome(act: Act, client: Any, group: str) -> Any:
    try:
        answer = await act(client)
    except RegistryError as error:
        # Apicurio's status of a refused schema depends on its version.
        refused = isinstance(error, IncompatibleSchemaError | InvalidSchemaError)
        return type(error).__name__ + ("" if refused or not error.status else f" {error.status}")
    except ValueError as error:
        return f"ValueError ({type(error).__name__})"
    return _plain(answer, group)


def _plain(value: Any, group: str) -> Any:
    """Return a value without ids, times and names of groups."""
    if isinstance(value, CachedSchema):
        return (value.content, value.version, value.artifact_type)
    if isinstance(value, SchemaContent):
        return value.content
    if isinstance(value, CompatibilityResult):
        return "compatible" if value else "incompatible"
    if isinstance(value, Page):
        return [value.count, *(_plain(item, group) for item in value.items)]
    if isinstance(value, tuple):
        return [_plain(item, group) for item in value]
    if isinstance(value, BaseModel):
        varying = {"global_id", "content_id", "created_on", "modified_on", "owner"}
        dumped = value.model_dump(exclude=varying)
        return dumped | {"group_id": dumped["group_id"].replace(group, "G")}
    return value
