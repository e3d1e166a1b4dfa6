"""Contexts of the NATS CLI (ADR-21): named connection settings in files."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from micro._connection.secrets import Given, read_text
from micro._errors import ConfigError

# Settings that change the identity or the route, and are not supported here.
_UNSUPPORTED = ("nsc", "socks_proxy", "http_proxy", "proxy", "windows_cert_store")
# Keys whose value is a secret, and keys whose value is the path of one; both may be references.
_SECRETS = ("token", "password", "user_jwt", "user_seed")
_SECRET_FILES = ("creds", "nkey")
_FILES = ("ca", "cert", "key")
_TYPES: dict[str, type] = {
    **dict.fromkeys(("url", "token", "user", "password", "creds", "nkey"), str),
    **dict.fromkeys(("user_jwt", "user_seed", "ca", "cert", "key", "inbox_prefix"), str),
    "tls_first": bool,
}


def read_context(name: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """Read a context: its keys as ADR-21 names them, without the empty ones.

    Raises:
        ConfigError: There is no such context, it is not a JSON object of the expected types,
            or it has a setting that only the NATS CLI supports.
    """
    folder = _folder(environ) / "context"
    path = folder / f"{name}.json"
    known = sorted(entry.stem for entry in folder.glob("*.json"))
    if name not in known:
        names = ", ".join(repr(entry) for entry in known) or "none there yet"
        wanted = repr(name) if re.fullmatch(r"[\w./-]{0,40}", name) else "of this name"
        raise ConfigError(
            f"unknown NATS context {wanted}: expected one of those in {str(folder)!r} ({names})"
        )
    try:
        content = json.loads(read_text(path, what="NATS context"))
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"invalid NATS context {str(path)!r}: expected JSON, "
            f"but {error.msg} in line {error.lineno}"
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(f"invalid NATS context {str(path)!r}: expected a JSON object")
    settings = {key: value for key, value in content.items() if value not in ("", None, False)}
    _check(settings, path)
    for key in settings.keys() & {*_SECRETS, *_SECRET_FILES}:
        settings[key] = _dereference(settings[key], f"{key!r} of NATS context {str(path)!r}", key)
    for key in settings.keys() & _FILES:
        settings[key] = expand(settings[key])
    return settings


def expand(text: str) -> str:
    """Return a path with `~`, `$VAR` and a `file://` prefix replaced, as the NATS CLI does."""
    return os.path.expanduser(os.path.expandvars(text.removeprefix("file://")))


def _dereference(text: str, what: str, key: str) -> Given:
    """Return the secret, or the file or function that has it, for a value of a context.

    Raises:
        ConfigError: The reference is malformed, or only the NATS CLI supports it.
    """
    scheme = text.partition(":")[0].lower()
    if scheme in ("op", "nsc") and text[len(scheme) :].startswith("://"):
        raise ConfigError(
            f"{what} uses {scheme}://, which only the NATS CLI supports: expected a path, "
            "file://, env:// or data:"
        )
    if text.startswith("env://"):
        return _from_variable(text.removeprefix("env://"), what)
    if text.startswith("data:"):
        return _from_data(text, what)
    if text.startswith("file://"):
        return Path(expand(text))
    is_text = "BEGIN" in text or text.strip().startswith(("SU", "eyJ"))
    if key in _SECRET_FILES and not is_text:
        return Path(expand(text))
    if key in ("user_jwt", "user_seed") and not is_text:
        return Path(expand(text))
    return text


def _from_variable(name: str, what: str) -> Given:
    if not re.fullmatch(r"\w{1,100}", name):
        raise ConfigError(f"{what} is malformed: expected env://NAME")
    if not os.environ.get(name):
        raise ConfigError(f"{what} names the variable {name}, which is not set or empty")
    return lambda: os.environ.get(name, "")


def _from_data(text: str, what: str) -> Given:
    header, comma, payload = text.removeprefix("data:").partition(",")
    try:
        if comma and "base64" in (part.strip() for part in header.split(";")):
            return base64.b64decode(payload, validate=True).decode().rstrip("\r\n")
    except (binascii.Error, UnicodeDecodeError):
        pass
    raise ConfigError(f"{what} is malformed: expected data:;base64, and text in base64")


def selected_context(environ: Mapping[str, str]) -> str | None:
    """Return the context that `nats context select` selected, None if there is none."""
    path = _folder(environ) / "context.txt"
    return read_text(path, what="selected NATS context").strip() or None if path.exists() else None


def _folder(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_CONFIG_HOME")
    if base:
        return Path(base) / "nats"
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / ".config" / "nats"


def _check(settings: Mapping[str, Any], path: Path) -> None:
    for key in _UNSUPPORTED:
        if key in settings:
            raise ConfigError(
                f"NATS context {str(path)!r} uses {key!r}, which only the NATS CLI supports: "
                "give servers and credentials instead"
            )
    for key in _TYPES.keys() & settings.keys():
        expected = _TYPES[key]
        if not isinstance(settings[key], expected):
            raise ConfigError(
                f"invalid NATS context {str(path)!r}: expected {key!r} to be a {expected.__name__}"
            )
