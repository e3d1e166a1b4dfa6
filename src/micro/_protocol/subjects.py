"""The rules of names, subjects, versions, queue groups and metadata (ADR-32, ADR-33)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

from micro._errors import ConfigError

DEFAULT_API_PREFIX = "$SRV"
DEFAULT_QUEUE_GROUP = "q"
MAX_METADATA_BYTES = 128 * 1024
RESERVED_METADATA_PREFIX = "_nats"
VERBS = ("PING", "INFO", "STATS")

MAX_CONTROL_LINE = 4096
"""Bytes of a control line by default: a server ends the connection after a longer one."""

MAX_SUBJECT_BYTES = MAX_CONTROL_LINE - 128
"""Limit on a subject with its queue group; the rest is for a reply subject, ids and sizes."""

_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_SUBJECT = re.compile(r"(?:(?:\*|[^\s.*>]+)\.)*(?:[*>]|[^\s.*>]+)")
_NUMBER = r"(?:0|[1-9][0-9]*)"
_PRERELEASE = rf"(?:{_NUMBER}|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_VERSION = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}"
    rf"(?:-{_PRERELEASE}(?:\.{_PRERELEASE})*)?"
    r"(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)


def is_text(value: object) -> TypeGuard[str]:
    """Return whether a value is a string that can be sent: without halves of surrogate pairs."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_texts(kind: str, values: object) -> tuple[str, ...]:
    """Return a checked collection of texts.

    Raises:
        ConfigError: It is a text, no collection, or has an entry that is no text.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise ConfigError(f"invalid {kind} {values!r}: expected a list")
    checked = tuple(values)
    for value in checked:
        if not is_text(value):
            raise ConfigError(f"invalid {kind} {checked!r}: expected texts, not {value!r}")
    return checked


def check_description(description: object) -> str:
    """Return the description of a service; empty for None.

    Raises:
        ConfigError: The description is not text.
    """
    if description is None:
        return ""
    if not is_text(description):
        raise ConfigError(f"invalid description {description!r}: expected text")
    return description


def check_length(kind: str, *parts: str) -> None:
    """Check that subjects fit into one control line of the server.

    Raises:
        ConfigError: They are too long together.
    """
    size = sum(map(len, parts))
    if size > MAX_SUBJECT_BYTES // 4:  # a character has up to four bytes
        size = sum(len(part.encode(errors="replace")) for part in parts)
    if size > MAX_SUBJECT_BYTES:
        raise ConfigError(
            f"invalid {kind} of {size} bytes: expected at most {MAX_SUBJECT_BYTES}, "
            "since a server ends the connection after a longer line"
        )


def check_name(kind: str, name: object) -> str:
    """Return the checked name of a service, endpoint or instance.

    Raises:
        ConfigError: The name has characters other than ASCII letters, digits, `-` and `_`, or is
            longer than a subject may be.
    """
    if isinstance(name, str):
        check_length(f"{kind} name", name)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(f"invalid {kind} name {name!r}: expected letters, digits, '-' or '_'")
    return name


def check_version(version: object) -> str:
    """Return a checked semantic version such as `1.0.0-rc.1+build`.

    Raises:
        ConfigError: The version does not follow semver 2.0.
    """
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise ConfigError(
            f"invalid version {version!r}: expected a semantic version such as '1.0.0'"
        )
    return version


def version_order(version: str) -> tuple[Any, ...]:
    """Return a key that orders versions, also unusual ones; a pre-release precedes its release."""
    numbers, dash, rest = version.partition("+")[0].partition("-")
    parts = (part[:18] for part in numbers.split("."))
    return [int(part) if part.isdecimal() else 0 for part in parts], not dash, rest


def check_subject(subject: object, *, allow_wildcards: bool = False) -> str:
    """Return a checked subject for an endpoint.

    Tokens are separated by dots; none is empty or holds white space. `>` as the last token, `*`
    as the first, and subjects beginning with `$` need the explicit consent of the caller, because
    they let an endpoint receive messages that are not meant for it.

    Raises:
        ConfigError: The subject breaks one of these rules.
    """
    if not isinstance(subject, str) or not subject:
        raise ConfigError(f"invalid subject {subject!r}: expected tokens separated by dots")
    if not _SUBJECT.fullmatch(subject) or not is_text(subject):
        raise ConfigError(
            f"invalid subject {subject!r}: expected tokens separated by dots, without white space, "
            "'*' and '>' only as whole tokens, '>' last"
        )
    check_length("subject", subject)
    if allow_wildcards:
        return subject
    if subject[0] == "*" or subject[-1] == ">":
        raise ConfigError(f"invalid subject {subject!r}: wildcards need allow_wildcards=True")
    if subject[0] == "$":
        raise ConfigError(
            f"invalid subject {subject!r}: "
            "'$' subjects are the server's and need allow_wildcards=True"
        )
    return subject


def check_prefix(kind: str, prefix: object) -> str:
    """Return a checked group name or API prefix: a subject without wildcards.

    Raises:
        ConfigError: The prefix holds a wildcard, white space or an empty token.
    """
    if is_text(prefix) and _SUBJECT.fullmatch(prefix) and not {"*", ">"} & set(prefix):
        check_length(kind, prefix)
        return prefix
    raise ConfigError(
        f"invalid {kind} {prefix!r}: expected tokens separated by dots, without wildcards"
    )


def check_queue_group(queue_group: object) -> str:
    """Return a checked queue group; the empty string stands for none.

    Raises:
        ConfigError: The name holds white space, a wildcard or an empty token.
    """
    return "" if queue_group == "" else check_prefix("queue group", queue_group)


def check_metadata(metadata: Mapping[Any, Any] | None) -> dict[str, str]:
    """Return a copy of the metadata of a service or endpoint (ADR-33).

    Raises:
        ConfigError: It is no mapping, a key or value is not a string, a key is empty or begins with
            `_nats`, or keys and values together exceed 128 KiB.
    """
    if metadata is None:
        return {}
    given: object = metadata
    if not isinstance(given, Mapping):
        raise ConfigError(f"invalid metadata {metadata!r}: expected a dict of strings")
    size = 0
    for key, value in metadata.items():
        if not is_text(key) or not is_text(value):
            raise ConfigError(f"invalid metadata entry {key!r}: expected strings only")
        if not key or key.startswith(RESERVED_METADATA_PREFIX):
            raise ConfigError(
                f"invalid metadata key {key!r}: expected a name that does not begin with '_nats'"
            )
        size += len(key.encode()) + len(value.encode())
    if size > MAX_METADATA_BYTES:
        raise ConfigError(
            f"metadata of {size} bytes is too large: expected at most {MAX_METADATA_BYTES}"
        )
    return dict(metadata)


def join(*tokens: str) -> str:
    """Join subject parts with dots, leaving out the empty ones."""
    return ".".join(filter(None, tokens))


def control_subject(verb: str, prefix: str, name: str | None = None, id: str | None = None) -> str:
    """Return `<prefix>.<VERB>[.<name>[.<id>]]`, the subject that discovers services."""
    return join(prefix, verb, name or "", id or "" if name is not None else "")
