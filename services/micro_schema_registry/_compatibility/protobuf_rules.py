"""Protobuf: which changes of a .proto file break data on the wire (protobuf.dev, updating a message type)."""

from collections import defaultdict

from micro_schema_registry._compatibility.levels import SchemaText
from micro_schema_registry._compatibility.proto_file import (
    Message,
    ProtoField,
    ProtoFile,
    parse_proto,
)
from micro_schema_registry._errors import Cause

# Types of one set are read from each other's bytes; a set is named by its first member.
_INTERCHANGEABLE = (
    {"int32", "int64", "uint32", "uint64", "bool", "enum"},
    {"sint32", "sint64"},
    {"fixed32", "sfixed32"},
    {"fixed64", "sfixed64"},
)


def parse(text: SchemaText) -> ProtoFile:
    """Parse a .proto file together with its imports; see Format.parse."""
    return parse_proto(text.content, dict(text.references))


def unreadable(reader: ProtoFile, writer: ProtoFile) -> list[Cause]:
    """Find fields whose bytes mean something else to the reader; see Format.unreadable."""
    comparison = _Comparison(reader, writer)
    for name in writer.own_messages:
        if name in reader.messages:
            comparison.messages(name, name)
        else:
            comparison.causes.append(Cause("message is missing from the reader", name))
    for name in writer.own_enums & reader.enums.keys():
        comparison.enums(name, name)
    return comparison.causes


def misused(new: ProtoFile, old: ProtoFile) -> list[Cause]:
    """Find numbers that were given up without being reserved, or taken although they were; see Format.misused."""
    causes = []
    for name in old.own_messages & new.messages.keys():
        before, after = old.messages[name], new.messages[name]
        for number, field in sorted(before.fields.items()):
            if number not in after.fields and not after.reserves(number):
                reason = f"field {field.name!r} was removed without reserving its number {number}"
                causes.append(Cause(reason, name))
        for number, field in sorted(after.fields.items()):
            if number not in before.fields and before.reserves(number):
                causes.append(Cause(f"field {field.name!r} takes reserved number {number}", name))
            elif number not in before.fields and field.name in before.reserved_names:
                causes.append(Cause(f"field {number} takes reserved name {field.name!r}", name))
    return causes


class _Comparison:
    """Walk two files side by side; each pair of messages or enums is compared once."""

    def __init__(self, reader: ProtoFile, writer: ProtoFile) -> None:
        self.causes: list[Cause] = []
        self._reader = reader
        self._writer = writer
        self._seen: set[tuple[str, str]] = set()

    def messages(self, read: str, written: str) -> None:
        if (read, written) in self._seen:
            return
        self._seen.add((read, written))
        reader, writer = self._reader.messages.get(read), self._writer.messages.get(written)
        if reader is None or writer is None:
            # Declared in a file that is not among the references: only the name can be compared.
            if read != written:
                self.causes.append(Cause(f"message type changed from {written!r}", read))
            return
        for number, field in sorted(reader.fields.items()):
            before = writer.fields.get(number)
            if before is not None:
                self._fields(f"{read}.{field.name}", field, before)
            if field.label == "required" and (before is None or before.label != "required"):
                self.causes.append(
                    Cause("required field need not be written", f"{read}.{field.name}")
                )
        self._oneofs(read, reader, writer)

    def enums(self, read: str, written: str) -> None:
        reader, writer = self._reader.enums.get(read, {}), self._writer.enums.get(written, {})
        for name, number in sorted(writer.items()):
            if name in reader and reader[name] != number:
                reason = f"enum value {name!r} changed from {number} to {reader[name]}"
                self.causes.append(Cause(reason, read))

    def _fields(self, place: str, reader: ProtoField, writer: ProtoField) -> None:
        if (reader.label == "repeated") != (writer.label == "repeated"):
            reason = (
                f"label changed from {writer.label or 'singular'} to {reader.label or 'singular'}"
            )
            self.causes.append(Cause(reason, place))
        elif reader.kind == writer.kind == "message":
            self.messages(reader.type_name, writer.type_name)
        elif reader.kind == writer.kind == "enum":
            if (reader.type_name, writer.type_name) not in self._seen:
                self._seen.add((reader.type_name, writer.type_name))
                self.enums(reader.type_name, writer.type_name)
        elif not _readable(reader.kind, writer.kind):
            shown = f"type changed from {writer.type_name!r} to {reader.type_name!r}"
            self.causes.append(Cause(shown, place))

    def _oneofs(self, name: str, reader: Message, writer: Message) -> None:
        """Of fields that share a oneof only the last one set survives; that hurts if they could be set together."""
        members: dict[str, list[int]] = defaultdict(list)
        for number, field in reader.fields.items():
            if field.oneof and number in writer.fields:
                members[field.oneof].append(number)
        for oneof, numbers in members.items():
            before = {writer.fields[number].oneof for number in numbers}
            if len(numbers) > 1 and (len(before) > 1 or before == {""}):
                shown = ", ".join(reader.fields[number].name for number in sorted(numbers))
                self.causes.append(Cause(f"fields {shown} now share a oneof", f"{name}.{oneof}"))


def _readable(reader: str, writer: str) -> bool:
    if reader == writer or (reader, writer) == ("bytes", "string"):
        return True
    return any(reader in kinds and writer in kinds for kinds in _INTERCHANGEABLE)
