"""Ways to authenticate: checked before connecting, read again at each attempt."""

from __future__ import annotations

import base64
import importlib.util
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from micro._connection.secrets import Function, Given, Source, shown
from micro._errors import ConfigError

# The block of a value that nsc or nk decorates with lines of dashes, as Go reads it.
_DECORATED = re.compile(r"-{3,}[^\n]*-{3,}[ \t\r]*\n\s*([^\s-]\S*)\s*\n\s*-{3,}[^\n]*-{3,}")


class Credentials(ABC):
    """One way to authenticate."""

    kind: ClassVar[str]

    @abstractmethod
    def check(self) -> None:
        """Raise ConfigError for an error that shows before connecting."""

    @abstractmethod
    async def prove(self, server: str, nonce: str) -> dict[str, str]:
        """Return the fields of CONNECT that authenticate.

        Args:
            server: The host and port of the server.
            nonce: The text that the server wants signed.

        Raises:
            ConfigError: A file or function has no usable secret now.
        """


class UserPassword(Credentials):
    """User name and password."""

    kind = "user and password"

    def __init__(self, user: str | Function, password: Given) -> None:
        self.user = Source(user, "user")
        self.password = Source(password, "password")

    def check(self) -> None:
        if self.user.read_now() == "":
            raise ConfigError("invalid user '': expected a name")
        self.password.read_now()

    async def prove(self, server: str, nonce: str) -> dict[str, str]:
        return {"user": await self.user.read(), "pass": await self.password.read()}


class Token(Credentials):
    """A token that the server knows."""

    kind = "token"

    def __init__(self, value: Given) -> None:
        self.value = Source(value, "token")

    def check(self) -> None:
        if self.value.read_now() == "":
            raise ConfigError("invalid token: expected a text that is not empty")

    async def prove(self, server: str, nonce: str) -> dict[str, str]:
        return {"auth_token": await self.value.read()}


class Creds(Credentials):
    """A user JWT and its seed in one text, as nsc writes it."""

    kind = "credentials file"

    def __init__(self, value: Given) -> None:
        self._source = Source(value, self.kind)

    def check(self) -> None:
        require_nkeys(self.kind)
        text = self._source.read_now()
        if text is not None:
            self._parse(text)

    async def prove(self, server: str, nonce: str) -> dict[str, str]:
        jwt, seed = self._parse(await self._source.read())
        return {"jwt": jwt, "sig": sign(seed, nonce)}

    def _parse(self, text: str) -> tuple[str, str]:
        blocks = _DECORATED.findall(text)
        if len(blocks) < 2:
            path = self._source.path
            where = "" if path is None else f" {shown(path)}"
            raise ConfigError(
                f"invalid credentials file{where}: expected a user JWT and an nkey seed "
                "between the BEGIN and END lines that nsc writes"
            )
        jwt, seed = blocks[:2]
        check_jwt(jwt)
        check_seed(seed, kind=self.kind)
        return jwt, seed


class Nkey(Credentials):
    """The seed of a user nkey, with or without the lines of dashes around it."""

    def __init__(self, value: Given) -> None:
        is_file = Source(value, "nkey seed").path is not None
        self.kind = "nkey file" if is_file else "nkey seed"  # type: ignore[misc]  # of this instance
        self._source = Source(value, self.kind)

    def check(self) -> None:
        require_nkeys(self.kind)
        text = self._source.read_now()
        if text is not None:
            self._parse(text)

    async def prove(self, server: str, nonce: str) -> dict[str, str]:
        seed = self._parse(await self._source.read())
        return {"nkey": public_key(seed), "sig": sign(seed, nonce)}

    def _parse(self, text: str) -> str:
        seed = find_seed(text)
        path = self._source.path
        check_seed(seed, kind=self.kind if path is None else f"{self.kind} {shown(path)}")
        return seed


class UserJwt(Credentials):
    """A user JWT, and the seed that signs the nonce of the server."""

    kind = "JWT"

    def __init__(self, token: Given, seed: Given) -> None:
        self._token = Source(token, "user JWT")
        self._seed = Source(seed, "nkey seed of the JWT")

    def check(self) -> None:
        require_nkeys("nkey seed of the JWT")
        token, seed = self._token.read_now(), self._seed.read_now()
        if token is not None:
            check_jwt(find_jwt(token))
        if seed is not None:
            check_seed(find_seed(seed), kind="nkey seed of the JWT")

    async def prove(self, server: str, nonce: str) -> dict[str, str]:
        jwt, seed = find_jwt(await self._token.read()), find_seed(await self._seed.read())
        check_jwt(jwt)
        check_seed(seed, kind="nkey seed of the JWT")
        return {"jwt": jwt, "sig": sign(seed, nonce)}


class JwtAndMore(Credentials):
    """A JWT beside a token or user, for auth callouts in operator mode."""

    def __init__(self, parts: Sequence[Credentials]) -> None:
        self.kind = " and ".join(part.kind for part in parts)  # type: ignore[misc]  # of this instance
        self._parts = tuple(parts)

    def check(self) -> None:
        for part in self._parts:
            part.check()

    async def prove(self, server: str, nonce: str) -> dict[str, str]:
        fields: dict[str, str] = {}
        for part in self._parts:
            fields |= await part.prove(server, nonce)
        return fields


class OfServers(Credentials):
    """The credentials in the URLs of servers; a server without any takes those of the first URL.

    Args:
        ways: Credentials by host and port, in the order of the URLs.
    """

    def __init__(self, ways: Mapping[str, Credentials]) -> None:
        self._ways = dict(ways)
        self._first = next(iter(self._ways.values()))
        self.kind = self._first.kind  # type: ignore[misc]  # of this instance

    def check(self) -> None:
        for way in self._ways.values():
            way.check()

    async def prove(self, server: str, nonce: str) -> dict[str, str]:
        return await self._ways.get(server, self._first).prove(server, nonce)


def combine(ways: Sequence[Credentials], *, source: str) -> Credentials | None:
    """Return the credentials of one source.

    Raises:
        ConfigError: They contradict each other.
    """
    by_kind = {way.kind: way for way in ways}  # a later option replaces an earlier one
    parts = list(by_kind.values())
    if len(parts) < 2:
        return parts[0] if parts else None
    signed = [part for part in parts if isinstance(part, Creds | UserJwt)]
    if len(parts) == 2 and len(signed) == 1 and not any(isinstance(p, Nkey) for p in parts):
        return JwtAndMore([*signed, *(part for part in parts if part not in signed)])
    raise ConfigError(
        f"contradictory credentials in {source}: {' and '.join(by_kind)}; give one of them"
    )


def nkey(given: Given) -> Nkey:
    """Return the credentials for a user seed, or for the path of a file with one."""
    return Nkey(_text_or_path(given, r"^\s*SU[A-Z2-7]{10}|BEGIN"))


def creds(given: Given) -> Creds:
    """Return the credentials for the text of a credentials file, or for its path."""
    return Creds(_text_or_path(given, "BEGIN"))


def jwt(token: Given, seed: Given) -> UserJwt:
    """Return the credentials for a user JWT and its seed, each a text or the path of a file."""
    return UserJwt(
        _text_or_path(token, r"^\s*eyJ|BEGIN"), _text_or_path(seed, r"^\s*SU[A-Z2-7]{10}|BEGIN")
    )


def _text_or_path(given: Given, secret: str) -> Given:
    """Return a path for a text that does not look like the secret itself."""
    if isinstance(given, str) and not re.search(secret, given):
        return Path(given).expanduser()
    return given


def find_jwt(text: str) -> str:
    """Return the JWT in a text, with or without the lines of dashes around it."""
    block = _DECORATED.search(text)
    return text.strip() if block is None else block[1]


def find_seed(text: str) -> str:
    """Return the seed in a text, with or without the lines of dashes around it."""
    blocks = _DECORATED.findall(text)
    lines = [line.strip() for line in text.splitlines()]
    return next((part for part in (*blocks, *lines) if part.startswith("SU")), text.strip())


def require_nkeys(kind: str) -> None:
    """Raise ConfigError unless the package that signs with nkeys is installed."""
    if importlib.util.find_spec("nkeys") is None:
        raise ConfigError(f"the {kind} needs the package nkeys: pip install 'natsmicro[nkeys]'")


def check_jwt(jwt: str) -> None:
    """Raise ConfigError unless a text has the form of a JWT; the message does not show it."""
    if jwt.count(".") != 2:
        raise ConfigError("invalid user JWT: expected three parts joined by '.'")


def check_seed(seed: str, *, kind: str) -> None:
    """Raise ConfigError unless `seed` is the seed of a user nkey; the message does not show it."""
    require_nkeys(kind)
    try:
        is_user = public_key(seed).startswith("U")
    except Exception:  # noqa: BLE001 - of nkeys, for whatever the text is; it may hold the seed
        is_user = False
    if not is_user:
        raise ConfigError(f"invalid {kind}: expected the seed of a user, starting with SU")


def public_key(seed: str) -> str:
    """Return the public key of a seed."""
    import nkeys

    pair = nkeys.from_seed(bytearray(seed.encode()))
    key: str = pair.public_key.decode()
    pair.wipe()
    return key


def sign(seed: str, nonce: str) -> str:
    """Return the signature of a nonce, as CONNECT carries it."""
    import nkeys

    pair = nkeys.from_seed(bytearray(seed.encode()))
    try:
        return base64.b64encode(pair.sign(nonce.encode())).decode()
    finally:
        pair.wipe()
