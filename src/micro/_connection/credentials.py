"""Ways to authenticate: checked before connecting, read again at each connect."""

from __future__ import annotations

import base64
import importlib.util
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from micro._errors import ConfigError


class Secret(str):
    """A string whose `repr`, `str` and formatted text are three asterisks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)


class Credentials(ABC):
    """One way to authenticate. A connection uses at most one."""

    kind: ClassVar[str]

    @abstractmethod
    def keywords(self) -> dict[str, Any]:
        """Return the keyword arguments of `nats.aio.client.Client.connect`."""

    @abstractmethod
    def check(self) -> None:
        """Raise ConfigError for an error that shows before connecting."""


class UserPassword(Credentials):
    """User name and password."""

    kind = "user and password"

    def __init__(self, user: str, password: Secret) -> None:
        self.user = user
        self.password = password

    def keywords(self) -> dict[str, Any]:
        return {"user": self.user, "password": self.password}

    def check(self) -> None:
        if not self.user:
            raise ConfigError("invalid user '': expected a name")


class Token(Credentials):
    """A token that the server knows."""

    kind = "token"

    def __init__(self, value: Secret) -> None:
        self.value = value

    def keywords(self) -> dict[str, Any]:
        return {"token": self.value}

    def check(self) -> None:
        if not self.value:
            raise ConfigError("invalid token: expected a text that is not empty")


class CredsFile(Credentials):
    """A file of nsc with a user JWT and its seed, read by nats-py at each connect."""

    kind = "credentials file"

    def __init__(self, path: Path) -> None:
        self.path = path

    def keywords(self) -> dict[str, Any]:
        return {"user_credentials": self.path}

    def check(self) -> None:
        text = read_text(self.path, what=self.kind)
        if "BEGIN NATS USER JWT" not in text or "BEGIN USER NKEY SEED" not in text:
            raise ConfigError(
                f"invalid credentials file {str(self.path)!r}: expected a user JWT and "
                "an nkey seed between the BEGIN and END lines that nsc writes"
            )
        require_nkeys(self.kind)


class NkeyFile(Credentials):
    """A file with the seed of a user nkey, read by nats-py at each connect."""

    kind = "nkey file"

    def __init__(self, path: Path) -> None:
        self.path = path

    def keywords(self) -> dict[str, Any]:
        return {"nkeys_seed": str(self.path)}

    def check(self) -> None:
        check_seed(read_text(self.path, what=self.kind), kind=f"nkey file {str(self.path)!r}")


class NkeySeed(Credentials):
    """The seed of a user nkey."""

    kind = "nkey seed"

    def __init__(self, seed: Secret) -> None:
        self.seed = seed

    def keywords(self) -> dict[str, Any]:
        return {"nkeys_seed_str": self.seed}

    def check(self) -> None:
        check_seed(self.seed, kind=self.kind)


class UserJwt(Credentials):
    """A user JWT, and the seed that signs the nonce of the server."""

    kind = "JWT"

    def __init__(self, token: Secret, seed: Secret) -> None:
        self.token = token
        self.seed = seed

    def keywords(self) -> dict[str, Any]:
        return {"user_jwt_cb": self._jwt, "signature_cb": self._sign}

    def check(self) -> None:
        if self.token.count(".") != 2:
            raise ConfigError("invalid user JWT: expected three parts joined by '.'")
        check_seed(self.seed, kind="nkey seed of the JWT")

    def _jwt(self) -> bytes:
        return self.token.strip().encode()

    def _sign(self, nonce: str) -> bytes:
        import nkeys

        pair = nkeys.from_seed(bytearray(self.seed.strip().encode()))
        try:
            return base64.b64encode(pair.sign(nonce.encode()))
        finally:
            pair.wipe()


def read_text(path: Path, *, what: str) -> str:
    """Read a small text file.

    Raises:
        ConfigError: It cannot be read; the message has its path and purpose.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {what} {str(path)!r}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read {what} {str(path)!r}: expected text") from error


def require_nkeys(kind: str) -> None:
    """Raise ConfigError unless the package that signs with nkeys is installed."""
    if importlib.util.find_spec("nkeys") is None:
        raise ConfigError(f"the {kind} needs the package nkeys: pip install 'natsmicro[nkeys]'")


def check_seed(seed: str, *, kind: str) -> None:
    """Raise ConfigError unless `seed` is the seed of a user nkey; the message does not show it."""
    require_nkeys(kind)
    import nkeys

    try:
        pair = nkeys.from_seed(bytearray(seed.strip().encode()))
        public_key = pair.public_key
    except (nkeys.NkeysError, ValueError):
        public_key = b""
    if not public_key.startswith(b"U"):
        raise ConfigError(f"invalid {kind}: expected the seed of a user, starting with SU")
