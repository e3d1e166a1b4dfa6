"""Contexts of the NATS CLI (ADR-21): named connection settings in files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from micro._connection.credentials import read_text
from micro._errors import ConfigError

# Settings that change the identity or the route, and are not supported here.
_UNSUPPORTED = ("nsc", "socks_proxy", "windows_cert_store")
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
        raise ConfigError(
            f"unknown NATS context {name!r}: expected one of those in {str(folder)!r} ({names})"
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
    return settings


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
