"""Protobuf: the changes that break data on the wire (protobuf.dev, updating a message type)."""

from collections import defaultdict, deque
from typing import Any

from micro_schema_registry._compatibility.levels import SchemaText
from micro_schema_registry._compatibility.proto_file import ProtoField, ProtoFile, parse_proto
from micro_schema_registry._errors import Cause

# Types of one set are read from each other's bytes.
_INTERCHANGEABLE = (
    {"int32", "int64", "uint32", "uint64", "bool", "enum"},
    {"sint32", "sint64"},
    {"fixed32", "sfixed32"},
    {"fixed64", "sfixed64"},
)
# A reader of many takes the only value of a field with one.
_ONE_AS_MANY = {"string", "bytes", "message", "group"}


def parse(text: SchemaText) -> ProtoFile:
    """Compile a .proto file together with its imports; see `Format.parse`."""
    return parse_proto(text.content, dict(text.references))


def unreadable(reader: ProtoFile, writer: ProtoFile) -> list[Cause]:
    """Find fields whose bytes mean something else to the reader; see `Format.unreadable`."""
    comparison = _Comparison(reader, writer)
    for message in writer.messages():
        other = reader.message(message.full_name)
        if other is not None:
            comparison.add(other, message, other.full_name)
        else:
            comparison.refuse("message is missing from the reader", message.full_name)
    comparison.run()
    for enum in writer.enums():
        other = reader.enum(enum.full_name)
        if other is not None:
            comparison.enums(other, enum)
    return comparison.causes


def misused(new: ProtoFile, old: ProtoFile) -> list[Cause]:
    """Find numbers dropped without `reserved`, or taken despite it; see `Format.misused`."""
    causes = []
    for name in sorted(old.reserved.keys() & new.reserved.keys()):
        before, after = old.reserved[name], new.reserved[name]
        old_fields, new_fields = (
            file.fields(file.pool.FindMessageTypeByName(name)) for file in (old, new)
        )
        for number, field in sorted(old_fields.items()):
            if number in new_fields or after.holds(number):
                continue
            if field.is_extension:
                reason = f"extension {field.full_name!r} of number {number} was removed"
            else:
                reason = f"field {field.name!r} was removed without reserving its number {number}"
            causes.append(Cause(reason, name))
        for number, field in sorted(new_fields.items()):
            if number not in old_fields and before.holds(number):
                causes.append(Cause(f"field {field.name!r} takes reserved number {number}", name))
            elif number not in old_fields and field.name in before.names:
                causes.append(Cause(f"field {number} takes reserved name {field.name!r}", name))
    return causes


class _Comparison:
    """Two files side by side; each pair of messages or enums is compared once."""

    def __init__(self, reader: ProtoFile, writer: ProtoFile) -> None:
        self.causes: list[Cause] = []
        self._reader = reader
        self._writer = writer
        self._seen: set[tuple[str, str]] = set()
        self._todo: deque[tuple[Any, Any, str]] = deque()

    def refuse(self, reason: str, place: str) -> None:
        """Add a cause."""
        self.causes.append(Cause(reason, place))

    def add(self, reader: Any, writer: Any, place: str) -> None:
        """Compare two messages later, if they have not been yet."""
        if self._first_time((reader.full_name, writer.full_name)):
            self._todo.append((reader, writer, place))

    def run(self) -> None:
        """Compare the messages that were added, and those that they lead to."""
        while self._todo:
            self._messages(*self._todo.popleft())

    def _messages(self, reader: Any, writer: Any, place: str) -> None:
        names = (reader.full_name, writer.full_name)
        if names[0] != names[1] and any(name.startswith("google.protobuf.") for name in names):
            # Some of these have equal fields and mean something else.
            self.refuse(f"message type changed from {names[1]!r}", names[0])
            return
        fields, before = self._reader.fields(reader), self._writer.fields(writer)
        for number, field in sorted(fields.items()):
            written = before.get(number)
            if written is not None:
                self._fields(f"{place}.{field.name}", field, written)
            if field.is_required and (written is None or not written.is_required):
                self.refuse("required field need not be written", f"{place}.{field.name}")
        self._oneofs(place, fields, before)

    def enums(self, reader: Any, writer: Any) -> None:
        """Compare the values of two enums."""
        if not self._first_time((reader.full_name, writer.full_name)):
            return
        now, before = _numbers(reader), _numbers(writer)
        for number, names in sorted(before.items()):
            if number in now and not names & now[number]:
                was, become = min(names), min(now[number])
                self.refuse(
                    f"enum number {number} changed from {was!r} to {become!r}", reader.full_name
                )
            elif number not in now and reader.is_closed:
                reason = f"value {min(names)!r} of a closed enum was removed"
                self.refuse(reason, reader.full_name)
        values = {value.name: value.number for value in reader.values}
        for value in writer.values:
            number = values.get(value.name, value.number)
            if number != value.number:
                reason = f"enum value {value.name!r} changed from {value.number} to {number}"
                self.refuse(reason, reader.full_name)

    def _first_time(self, names: tuple[str, str]) -> bool:
        if names in self._seen:
            return False
        self._seen.add(names)
        return True

    def _fields(self, place: str, reader: ProtoField, writer: ProtoField) -> None:
        kinds = (reader.kind, writer.kind)
        one_as_many = reader.is_repeated and reader.kind in _ONE_AS_MANY
        if reader.is_repeated != writer.is_repeated and not one_as_many:
            labels = ["repeated" if field.is_repeated else "singular" for field in (writer, reader)]
            self.refuse(f"label changed from {labels[0]} to {labels[1]}", place)
        elif set(kinds) == {"message", "group"}:
            shown = {"message": "length-prefixed", "group": "delimited"}
            self.refuse(f"encoding changed from {shown[kinds[1]]} to {shown[kinds[0]]}", place)
        elif kinds[0] == kinds[1] and reader.message is not None:
            self._message_fields(place, reader.message, writer.message)
        elif not _readable(*kinds):
            self.refuse(f"type changed from {writer.type_name!r} to {reader.type_name!r}", place)
        elif reader.kind == "enum":
            self._enum_field(place, reader, writer)

    def _message_fields(self, place: str, reader: Any, writer: Any) -> None:
        is_map = _is_map(reader)
        if is_map and not _is_map(writer):
            self.refuse("entries of one key are lost in a map", place)
        self.add(reader, writer, f"{place}.entry" if is_map else reader.full_name)

    def _enum_field(self, place: str, reader: ProtoField, writer: ProtoField) -> None:
        if reader.enum.is_closed and (writer.enum is None or not writer.enum.is_closed):
            reason = f"a closed enum loses numbers that {writer.type_name!r} allows"
            self.refuse(reason, place)
        if writer.enum is not None:
            self.enums(reader.enum, writer.enum)

    def _oneofs(
        self, name: str, fields: dict[int, ProtoField], before: dict[int, ProtoField]
    ) -> None:
        """Refuse a oneof of fields that could be set together: only the last one survives."""
        members: dict[str, list[int]] = defaultdict(list)
        for number, field in fields.items():
            if field.oneof and number in before:
                members[field.oneof].append(number)
        for oneof, numbers in members.items():
            was = {before[number].oneof for number in numbers}
            if len(numbers) > 1 and (len(was) > 1 or was == {""}):
                shown = ", ".join(fields[number].name for number in sorted(numbers))
                self.refuse(f"fields {shown} now share a oneof", f"{name}.{oneof}")


def _numbers(enum: Any) -> dict[int, set[str]]:
    """Return the names by number; with aliases there are several."""
    names: dict[int, set[str]] = defaultdict(set)
    for value in enum.values:
        names[value.number].add(value.name)
    return names


def _is_map(message: Any) -> bool:
    return bool(message.has_options and message.GetOptions().map_entry)


def _readable(reader: str, writer: str) -> bool:
    if reader == writer or (reader, writer) == ("bytes", "string"):
        return True
    return any(reader in kinds and writer in kinds for kinds in _INTERCHANGEABLE)
