"""Messages and enums of a .proto file with every type name resolved; map fields become their entry message."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from proto_schema_parser import ast
from proto_schema_parser.parser import Parser

SCALARS = frozenset(
    [
        "double",
        "float",
        "int32",
        "int64",
        "uint32",
        "uint64",
        "sint32",
        "sint64",
        "fixed32",
        "fixed64",
        "sfixed32",
        "sfixed64",
        "bool",
        "string",
        "bytes",
    ]
)
_MAX_NUMBER = 2**29 - 1
_PARSING = threading.Lock()


@dataclass(frozen=True)
class ProtoField:
    """Hold a field: ``kind`` is a scalar's name, "message" or "enum"; ``type_name`` is full, without a leading dot."""

    name: str
    kind: str
    type_name: str
    label: str = ""
    oneof: str = ""


@dataclass
class Message:
    """Hold a message: fields by number, and what it reserves."""

    fields: dict[int, ProtoField] = field(default_factory=dict)
    reserved: list[tuple[int, int]] = field(default_factory=list)
    reserved_names: set[str] = field(default_factory=set)

    def reserves(self, number: int) -> bool:
        """Say whether a number is reserved."""
        return any(first <= number <= last for first, last in self.reserved)


@dataclass
class ProtoFile:
    """Hold what a file and its imports declare, by full name; ``own_...`` are the names of the file itself."""

    messages: dict[str, Message] = field(default_factory=dict)
    enums: dict[str, dict[str, int]] = field(default_factory=dict)
    own_messages: set[str] = field(default_factory=set)
    own_enums: set[str] = field(default_factory=set)


def parse_proto(content: str, imports: Mapping[str, str]) -> ProtoFile:
    """Parse a file and those it imports, by import path.

    Raises:
        ValueError: a syntax error with its line, a field number used twice, or an unknown type.
    """
    reading = _Reading()
    for path, text in imports.items():
        reading.declare(_syntax_tree(text, path))
    own = reading.declare(_syntax_tree(content, "the schema"))
    reading.resolve()
    reading.file.own_messages = own & reading.file.messages.keys()
    reading.file.own_enums = own & reading.file.enums.keys()
    return reading.file


class _Refusing:
    """Listen to the parser: by itself it prints syntax errors and goes on."""

    def __init__(self, source: str) -> None:
        self._source = source

    def syntaxError(self, *details: Any) -> NoReturn:  # noqa: N802 - the parser's name
        _, _, line, column, reason, _ = details
        raise ValueError(f"not a Protobuf schema: {self._source}:{line}:{column}: {reason}")

    def __getattr__(self, name: str) -> Any:
        # Reports of ambiguity concern the grammar, not the text.
        if name.startswith("report"):
            return lambda *_: None
        raise AttributeError(name)


def _syntax_tree(text: str, source: str) -> ast.File:
    def refuse(recognizer: Any) -> None:
        recognizer.removeErrorListeners()
        recognizer.addErrorListener(_Refusing(source))

    # Parsers share what they learn about the grammar, and say nothing about threads.
    with _PARSING:
        return Parser(setup_lexer=refuse, setup_parser=refuse).parse(text)


class _Reading:
    """Collect declarations first, then resolve the names between them."""

    def __init__(self) -> None:
        self.file = ProtoFile()
        self._pending: list[tuple[str, int, str, ast.Field, str]] = []

    def declare(self, tree: ast.File) -> set[str]:
        package = next(
            (item.name for item in tree.file_elements if isinstance(item, ast.Package)), ""
        )
        before = self.file.messages.keys() | self.file.enums.keys()
        self._declare_all(tree.file_elements, package)
        return (self.file.messages.keys() | self.file.enums.keys()) - before

    def resolve(self) -> None:
        for scope, number, label, item, oneof in self._pending:
            kind, type_name = self._resolved(item.type, scope)
            fields = self.file.messages[scope].fields
            if number in fields:
                raise ValueError(
                    f"not a Protobuf schema: {scope} uses number {number} for {fields[number].name!r} and {item.name!r}"
                )
            fields[number] = ProtoField(item.name, kind, type_name, label, oneof)

    def _declare_all(self, elements: Iterable[Any], scope: str) -> None:
        for item in elements:
            if isinstance(item, ast.Message):
                self._message(item, _join(scope, item.name))
            elif isinstance(item, ast.Enum):
                values = [value for value in item.elements if isinstance(value, ast.EnumValue)]
                self.file.enums[_join(scope, item.name)] = {v.name: v.number for v in values}

    def _message(self, item: ast.Message | ast.Group, name: str) -> None:
        message = self.file.messages[name] = Message()
        self._declare_all(item.elements, name)
        for element in item.elements:
            if isinstance(element, ast.OneOf):
                for member in element.elements:
                    self._member(member, name, element.name)
            elif isinstance(element, ast.Reserved):
                message.reserved += [_range(text) for text in element.ranges]
                message.reserved_names |= {text.strip("\"'") for text in element.names}
            else:
                self._member(element, name, "")

    def _member(self, item: Any, scope: str, oneof: str) -> None:
        if isinstance(item, ast.Field):
            label = "" if item.cardinality is None else item.cardinality.value.lower()
            # proto3's "optional" changes nothing on the wire.
            label = "" if label == "optional" else label
            self._pending.append((scope, item.number, label, item, oneof))
        elif isinstance(item, ast.MapField):
            entry = _join(scope, f"{item.name}.entry")
            self.file.messages[entry] = Message()
            for number, name, type_name in (
                (1, "key", item.key_type),
                (2, "value", item.value_type),
            ):
                self._pending.append((entry, number, "", ast.Field(name, number, type_name), ""))
            self._pending.append(
                (
                    scope,
                    item.number,
                    "repeated",
                    ast.Field(item.name, item.number, f".{entry}"),
                    oneof,
                )
            )
        elif isinstance(item, ast.Group):
            self._message(item, _join(scope, item.name))
            label = "" if item.cardinality is None else item.cardinality.value.lower()
            nested = ast.Field(item.name.lower(), item.number, item.name)
            self._pending.append((scope, item.number, label, nested, oneof))

    def _resolved(self, type_name: str, scope: str) -> tuple[str, str]:
        """Look a type name up from the innermost scope outwards, as protoc does."""
        if type_name in SCALARS:
            return type_name, type_name
        while True:
            full = type_name[1:] if type_name.startswith(".") else _join(scope, type_name)
            if full in self.file.messages:
                return "message", full
            if full in self.file.enums:
                return "enum", full
            if not scope or type_name.startswith("."):
                break
            scope = scope.rpartition(".")[0]
        if type_name.lstrip(".").startswith("google.protobuf."):
            return "message", type_name.lstrip(".")  # every runtime brings these
        raise ValueError(
            f"not a Protobuf schema: unknown type {type_name!r}: expected it here or in a reference"
        )


def _join(scope: str, name: str) -> str:
    return f"{scope}.{name}" if scope else name


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition(" to ")
    if not last:
        last = first
    return int(first), _MAX_NUMBER if last.strip() == "max" else int(last)
