"""Secrets: values that no message shows, read again at each attempt to connect."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from micro._errors import ConfigError

Function: TypeAlias = Callable[[], str | Awaitable[str]]
"""A function, sync or async, that returns a secret."""

Given: TypeAlias = str | os.PathLike[str] | Function
"""A secret, the path of a file that has it, or a function that returns it."""

_SUSPICIOUS = re.compile(r"[A-Za-z0-9+=]{40,}|\beyJ|BEGIN|[\x00-\x1f]|^data:")
_PATH = re.compile(r"[/\\]|^~|\.(creds|nk|nkey|jwt|seed|txt|token|pem|crt|cer|key|json)$")


class Secret(str):
    """A string whose `repr`, `str` and formatted text are three asterisks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def reveal(self) -> str:
        """Return the secret as a plain string."""
        return str.__getitem__(self, slice(None))


class Source:
    """The origin of a secret: a text, a file or a function.

    Args:
        given: The origin.
        what: The name of the secret, for messages.

    Raises:
        ConfigError: It is not a text, a path or a function.
    """

    def __init__(self, given: Given, what: str) -> None:
        if not isinstance(given, str | os.PathLike) and not callable(given):
            raise ConfigError(
                f"invalid {what} of type {type(given).__name__!r}: "
                "expected a text, a path or a function that returns a text"
            )
        self.what = what
        self._given = Secret(given) if isinstance(given, str) else given

    @property
    def path(self) -> Path | None:
        """The path of the file, None for the other origins."""
        return Path(self._given) if isinstance(self._given, os.PathLike) else None

    async def read(self) -> str:
        """Return the secret; files are read and functions called each time.

        Raises:
            ConfigError: The file cannot be read, or the function failed or returned no text.
        """
        if not callable(self._given):
            return self.read_now() or ""
        try:
            secret = self._given()
            secret = await secret if inspect.isawaitable(secret) else secret
        except Exception as error:  # noqa: BLE001 - a function of the user may raise anything
            kind = type(error).__name__  # its text may hold the secret
            raise ConfigError(f"the function for the {self.what} failed: {kind}") from None
        if not isinstance(secret, str):
            raise ConfigError(
                f"the function for the {self.what} returned {type(secret).__name__!r}: "
                "expected a text"
            )
        return secret.reveal() if isinstance(secret, Secret) else secret

    def read_now(self) -> str | None:
        """Return the secret of a text or file; None for a function, which only `read` calls.

        Raises:
            ConfigError: The file cannot be read.
        """
        if isinstance(self._given, Secret):
            return self._given.reveal()
        path = self.path
        return None if path is None else read_text(path, what=self.what).rstrip("\r\n")


def shown(text: object) -> str:
    """Return a path for a message, or a placeholder if it may be a secret in place of a path."""
    path = os.fspath(text) if isinstance(text, os.PathLike) else text
    if isinstance(path, str) and _PATH.search(path) and not _SUSPICIOUS.search(path):
        return repr(path)
    return "(not shown: it does not look like a path)"


def read_text(path: Path, *, what: str) -> str:
    """Read a small text file.

    Raises:
        ConfigError: It cannot be read; the message has its path and purpose.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot read {what} {shown(path)}: {error.strerror}") from None
    except ValueError as error:
        reason = "expected text" if isinstance(error, UnicodeDecodeError) else "expected a path"
        raise ConfigError(f"cannot read {what} {shown(path)}: {reason}") from None
