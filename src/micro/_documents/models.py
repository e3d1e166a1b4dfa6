"""The classes of generated code: one for each definition of the schemas of a service."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from micro._documents.annotations import (
    Annotations,
    Mode,
    Schema,
    Typed,
    literal,
    one_sided,
    text_of,
)
from micro._documents.names import class_name, field_name, identifier, unique

_MODEL = {"type", "properties", "required", "title", "description", "additionalProperties", "$defs"}
_SIMPLE = {"bool": bool, "int": int, "float": float, "str": str}
_EXTRA = {False: "forbid", True: "allow"}


class Models:
    """The classes that generated code needs, each of them once.

    Attributes:
        classes: The code of the classes, in the order of their definition.
        aliases: The code of the other definitions, each behind those that it needs.
        taken: The names that are in use.
    """

    def __init__(self, taken: set[str]) -> None:
        self.classes: list[str] = []
        self.aliases: list[str] = []
        self.taken = taken
        self._names: dict[str, str] = {}  # by the text of everything that a definition needs

    def annotation(self, schema: Schema, mode: Mode) -> str:
        """Return the annotation of a whole document; its definitions become classes."""
        document = _Document(self, schema, mode)
        if _is_class(schema):
            return document.define(schema)
        return document.annotations.nested({k: v for k, v in schema.items() if k != "$defs"})

    def name(self, needed: str, wanted: str) -> tuple[str, bool]:
        """Return the name of a definition, and whether it is new."""
        if needed in self._names:
            return self._names[needed], False
        name = self._names[needed] = unique(class_name(wanted), self.taken)
        return name, True


class _Document:
    """One schema with its definitions."""

    def __init__(self, models: Models, schema: Schema, mode: Mode) -> None:
        self._models = models
        self._mode = mode
        self._definitions: Mapping[str, Any] = schema.get("$defs", {})
        self.annotations = Annotations(mode, self._refer, self.define)

    def define(self, schema: Schema, key: str = "") -> str:
        """Return the name of the class of a schema, which is made when it is first asked for."""
        wanted = key or str(schema.get("title", "Model"))
        needed = text_of(
            [key, schema, {name: self._definitions[name] for name in self._closure(schema)}]
        )
        if any(text in needed for text in one_sided()):
            needed += self._mode
        name, is_new = self._models.name(needed, wanted)
        if is_new:
            self._write(name, key, schema)
        return name

    def _refer(self, target: str) -> str:
        key = target.removeprefix("#/$defs/")
        body = self._definitions.get(key)
        return self.define(body, key) if isinstance(body, Mapping) else "_Any"

    def _closure(self, schema: Any) -> list[str]:
        """Return the names of all definitions that a schema needs."""
        needed: set[str] = set()
        waiting = [schema]
        while waiting:
            for target in _references(waiting.pop()):
                key = target.removeprefix("#/$defs/")
                if key not in needed and key in self._definitions:
                    needed.add(key)
                    waiting.append(self._definitions[key])
        return sorted(needed)

    def _write(self, name: str, key: str, schema: Schema) -> None:
        models = self._models
        place = len(models.classes)
        if "properties" in schema:
            models.classes.insert(place, "")
            models.classes[place] = self._model(name, key, schema)
        elif _is_enum(schema):
            models.classes.append(_enum(name, key, schema))
        elif "title" in schema:
            models.aliases.append(self._root(name, key, schema))
        else:
            value = self.annotations.nested(schema)
            models.aliases.append(f"{name} = _TypeAliasType({(key or name)!r}, {value!r})")

    def _root(self, name: str, key: str, schema: Schema) -> str:
        told = {k: v for k, v in schema.items() if k not in ("title", "description", "$defs")}
        lines = [
            *_docstring(schema),
            *_identity(name, key),
            *_config(name, schema, {}),
            f"root: {self.annotations.nested(told)}",
        ]
        return _class(name, "_pydantic.RootModel[_Any]", lines)

    def _model(self, name: str, key: str, schema: Schema) -> str:
        required = set(schema.get("required", ()))
        config: dict[str, str] = {}
        lines = []
        fields: set[str] = set()
        for member, body in schema["properties"].items():
            field = unique(field_name(member, self._models.taken), fields)
            if field != member:
                config["validate_by_name"] = config["validate_by_alias"] = "True"
            if self._mode == "serialization" and member in required and "default" in body:
                config["json_schema_serialization_defaults_required"] = "True"
            lines.append(self._field(field, member, body, is_required=member in required))
        return _class(
            name,
            "_pydantic.BaseModel",
            [*_docstring(schema), *_identity(name, key), *_config(name, schema, config), *lines],
        )

    def _field(self, field: str, member: str, body: Any, *, is_required: bool) -> str:
        typed = self.annotations.of(body)
        source, told = typed.source, dict(typed.field)
        if told.get("title") == literal(_title(member)) and _has_own_title(body):
            del told["title"]
        elif "title" not in told and _has_own_title(body):
            told["json_schema_extra"] = "_untitled"
        if field != member:
            told["alias"] = literal(member)
        if isinstance(body, Mapping) and "default" in body:
            default = _default(source, body["default"])
            if not told and not default.startswith("_json"):
                return f"{field}: {source} = {default}"
            validated = ", validate_default=True" if default.startswith("_json") else ""
            return _assigned(field, Typed(source, told), f"default={default}{validated}")
        if is_required:
            return _assigned(field, Typed(source, told), "") if told else f"{field}: {source}"
        factory = _factory(source)
        unset = "default_factory=_unset, exclude_if=_is_unset"
        return _assigned(
            field, Typed(source, told), f"default_factory={factory}" if factory else unset
        )


def _assigned(field: str, typed: Typed, default: str) -> str:
    arguments = [default] if default else []
    arguments += [f"{name}={value}" for name, value in typed.field.items()]
    return f"{field}: {typed.source} = _pydantic.Field({', '.join(arguments)})"


def _class(name: str, base: str, lines: list[str]) -> str:
    body = "\n".join(f"    {line}" for line in lines) or "    pass"
    return f"class {name}({base}):\n{body}"


def _enum(name: str, key: str, schema: Schema) -> str:
    values = [schema["const"]] if "const" in schema else schema["enum"]
    taken = {"name", "value", "mro"}
    members = [f"{unique(identifier(str(each)), taken)} = {literal(each)}" for each in values]
    titled = schema.get("title", name)
    code = _class(name, "_Enum", [*_docstring(schema), *_identity(name, key), *members])
    return code if titled == name else f"{code}\n\n\n{name}.__name__ = {titled!r}"


def _docstring(schema: Schema) -> list[str]:
    text = schema.get("description")
    if not isinstance(text, str) or not text or inspect.cleandoc(text) != text:
        return []
    simple = text.isprintable() and not set(text) & {'"', "\\"}
    return [f'"""{text}"""' if simple else f"__doc__ = {text!r}"]


def _identity(name: str, key: str) -> list[str]:
    """Return the line that gives a class the name of its definition in schemas."""
    return [f"__qualname__ = {key!r}"] if key and key != name else []


def _config(name: str, schema: Schema, config: dict[str, str]) -> list[str]:
    config = dict(config)
    title = schema.get("title", name)
    if title != name:
        config["title"] = literal(title)
    extra = schema.get("additionalProperties")
    if "properties" in schema:
        if isinstance(extra, bool):
            config["extra"] = literal(_EXTRA[extra])
        rest = {key: value for key, value in schema.items() if key not in _MODEL}
        if rest:
            config["json_schema_extra"] = literal(rest)
    if not config:
        return []
    arguments = ", ".join(f"{key}={value}" for key, value in config.items())
    return [f"model_config = _pydantic.ConfigDict({arguments})"]


def _default(source: str, value: Any) -> str:
    """Return the code of a default; of another type than the annotation says, pydantic reads it."""
    if value is None or type(value) is _SIMPLE.get(source):
        return literal(value)
    return f"_json({literal(value)})"


def _factory(source: str) -> str:
    kind = source.partition("[")[0]
    return kind if kind in ("list", "dict", "set") and source.endswith("]") else ""


def _title(member: str) -> str:
    return member.title().replace("_", " ").strip()


def _has_own_title(body: Any) -> bool:
    """Return whether pydantic adds a title to a member with this schema."""
    if not isinstance(body, Mapping) or "$ref" in body:
        return False
    branches = body.get("anyOf") or body.get("oneOf")
    if isinstance(branches, list):
        return not any(isinstance(each, Mapping) and "$ref" in each for each in branches)
    return True


def _is_class(schema: Schema) -> bool:
    return "properties" in schema or "title" in schema


def _is_enum(schema: Schema) -> bool:
    return "title" in schema and ("enum" in schema or "const" in schema)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)
