"""A .proto file as protoc understands it, with all that it imports."""

import os
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_tools import protoc

# Compilers print to the file of standard error, which belongs to the whole process.
_COMPILING = threading.Lock()
_KINDS = {
    getattr(FieldDescriptor, name): name.removeprefix("TYPE_").lower()
    for name in dir(FieldDescriptor)
    if name.startswith("TYPE_")
}
_NOT_AN_ERROR = re.compile(r": warning: |^WARNING: |^[IWE]\d{4} ")


@dataclass(frozen=True)
class ProtoFile:
    """The declarations of a file and its imports.

    Attributes:
        pool: The types.
        own: The file itself.
        reserved: The reserved numbers and names of the messages of the file, by full name.
    """

    pool: DescriptorPool
    own: FileDescriptorProto
    reserved: Mapping[str, "Reserved"]
    _fields: dict[str, dict[int, "ProtoField"]] = field(default_factory=dict)

    def messages(self) -> Iterator[Any]:
        """Yield the messages that the file itself declares, without entries of maps."""
        for name in self.reserved:
            yield self.pool.FindMessageTypeByName(name)

    def message(self, name: str) -> Any | None:
        """Return a message by its full name."""
        return _found(self.pool.FindMessageTypeByName, name)

    def enums(self) -> Iterator[Any]:
        """Yield the enums that the file itself declares."""
        file = self.pool.FindFileByName(self.own.name)
        yield from file.enum_types_by_name.values()
        for message in self.messages():
            yield from message.enum_types

    def enum(self, name: str) -> Any | None:
        """Return an enum by its full name."""
        return _found(self.pool.FindEnumTypeByName, name)

    def fields(self, message: Any) -> dict[int, "ProtoField"]:
        """Return the fields and the known extensions of a message by number."""
        known = self._fields.get(message.full_name)
        if known is None:
            declared = list(message.fields)
            if message.is_extendable:
                declared += self.pool.FindAllExtensions(message)
            known = {field.number: _field(field) for field in declared}
            self._fields[message.full_name] = known
        return known


class ProtoField(NamedTuple):
    """The properties of a field that matter; its names are last, as the wire has no names."""

    kind: str
    is_repeated: bool
    is_required: bool
    oneof: str
    message: Any
    enum: Any
    is_extension: bool
    name: str
    full_name: str

    @property
    def type_name(self) -> str:
        """The name of the type."""
        declared = self.message or self.enum
        return self.kind if declared is None else str(declared.full_name)


@dataclass(frozen=True)
class Reserved:
    """The numbers and names that a message reserves."""

    ranges: tuple[tuple[int, int], ...]
    names: frozenset[str]

    def holds(self, number: int) -> bool:
        """Tell whether a number is reserved."""
        return any(first <= number < end for first, end in self.ranges)


def parse_proto(content: str, imports: Mapping[str, str]) -> ProtoFile:
    """Compile a file with those it imports, by import path.

    Raises:
        ValueError: The compiler refuses it; the message is that of the compiler.
    """
    own = "schema.proto"
    while own in imports:
        own = f"_{own}"
    with tempfile.TemporaryDirectory() as folder:
        for path, text in {**imports, own: content}.items():
            target = Path(folder) / _checked(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        compiled = _compiled(folder, own)
    files = FileDescriptorSet.FromString(compiled).file
    pool = DescriptorPool()
    try:
        for file in files:
            pool.Add(file)
    except TypeError as error:
        raise ValueError(f"not a Protobuf schema: {error}") from error
    file = files[-1]
    return ProtoFile(pool, file, dict(_reserved(file.message_type, file.package)))


def _compiled(folder: str, own: str) -> bytes:
    output = Path(folder) / ".descriptors"
    paths = [f"-I{path}" for path in (folder, *_included())]
    with _COMPILING, tempfile.TemporaryFile() as errors:
        usual = os.dup(2)
        os.dup2(errors.fileno(), 2)
        try:
            arguments = [*paths, "--include_imports", f"--descriptor_set_out={output}", own]
            failed = protoc.main(["protoc", *arguments])
        finally:
            os.dup2(usual, 2)
            os.close(usual)
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    if failed:
        raise ValueError(f"not a Protobuf schema: {_shown(said, folder, own)}")
    return output.read_bytes()


def _shown(said: str, folder: str, own: str) -> str:
    lines = [line.removeprefix(f"{folder}/") for line in said.splitlines()]
    shown = [line for line in lines if not _NOT_AN_ERROR.search(line)]
    return "; ".join(
        line.replace(f"{own}:", "the schema:", 1).removesuffix(".") for line in shown[:5]
    )


def _checked(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        raise ValueError(f"not a Protobuf schema: reference {path!r} cannot be an import path")
    return path


@cache
def _included() -> tuple[str, ...]:
    folders = [str(Path(protoc.__file__).parent / "_proto")]
    common = find_spec("google.api")
    locations = common.submodule_search_locations if common else None
    # Its files are imported as google/api/..., so the folder is the one above google.
    folders += [str(Path(location).parent.parent) for location in locations or ()]
    return tuple(folders)


def _reserved(messages: Any, scope: str) -> Iterator[tuple[str, Reserved]]:
    message: DescriptorProto
    for message in messages:
        name = f"{scope}.{message.name}" if scope else message.name
        if not message.options.map_entry:
            ranges = tuple((item.start, item.end) for item in message.reserved_range)
            yield name, Reserved(ranges, frozenset(message.reserved_name))
            yield from _reserved(message.nested_type, name)


def _field(declared: Any) -> ProtoField:
    oneof = declared.containing_oneof
    return ProtoField(
        _KINDS[declared.type],
        declared.is_repeated,
        declared.is_required,
        "" if oneof is None else oneof.name,
        declared.message_type,
        declared.enum_type,
        declared.is_extension,
        declared.name,
        declared.full_name,
    )


def _found(find: Any, name: str) -> Any | None:
    try:
        return find(name)
    except KeyError:
        return None
