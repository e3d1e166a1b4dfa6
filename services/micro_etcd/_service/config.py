"""Configuration of the etcd service: its namespaces, and the way to etcd."""

import os
import tomllib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from micro import ConfigError
from micro_etcd._direct.client import EtcdClient
from micro_etcd._model.values import EtcdCredential, EtcdTLS, HostPortPair, parse_addresses

Right = Literal["get", "list", "put", "delete", "txn", "lease", "lock", "watch", "status"]
RIGHTS: tuple[Right, ...] = get_args(Right)
_SHORT: dict[str, tuple[Right, ...]] = {
    "read": ("get", "list", "watch", "status"),
    "write": ("put", "delete", "txn", "lease", "lock"),
    "all": RIGHTS,
}


class NamespaceRule(BaseModel):
    """The prefix and the rights of one namespace token.

    Attributes:
        prefix: Prefix of every key; callers cannot reach other keys.
        allow: Operations: get, list, put, delete, txn, lease, lock, watch, status; or `read` (get,
            list, watch, status), `write` (the rest), `all`. Nothing is allowed by default. A txn
            also needs the right of each operation in it, and `get` for its comparisons.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: str
    allow: frozenset[Right] = frozenset()

    @field_validator("allow", mode="before")
    @classmethod
    def _expand(cls, given: Any) -> Any:
        if not isinstance(given, list | tuple | set | frozenset):
            return given
        return {right for name in given for right in _SHORT.get(name, (name,))}


class EtcdSection(BaseModel):
    """Endpoints and login of etcd; TLS is used when one of its files is given.

    The password file is read at each login, so a new password needs no restart.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoints: Annotated[list[str], Field(min_length=1)] = ["127.0.0.1:2379"]
    user: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    tls: bool = False
    timeout_s: float = 10.0

    @field_validator("endpoints")
    @classmethod
    def _addresses(cls, endpoints: list[str]) -> list[str]:
        for endpoint in endpoints:
            HostPortPair.parse(endpoint)
        return endpoints

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.password is not None and self.password_file is not None:
            raise ValueError("expected either password or password_file")
        parse_addresses(self.endpoints, is_secure=bool(self._secure()))
        return self

    def client(self) -> EtcdClient[bytes]:
        """Return the client of these settings."""
        credential = None
        if self.user is not None:
            credential = EtcdCredential(self.user, self._password)
        secure = self._secure()
        return EtcdClient(
            self.endpoints, credential, secure=secure, encoding=None, timeout=self.timeout_s
        )

    def _secure(self) -> bool | EtcdTLS:
        if self.ca is not None or self.cert is not None:
            return EtcdTLS(ca=self.ca, cert=self.cert, key=self.key)
        return self.tls

    def _password(self) -> str:
        if self.password_file is not None:
            return self.password_file.read_text().strip()
        return "" if self.password is None else self.password.get_secret_value()


class EtcdServiceSettings(BaseModel):
    """All settings of the etcd service.

    Attributes:
        etcd: The way to etcd.
        namespaces: Rules by token, the second token of the subject `etcd.<token>.kv.get`.
        group: First part of all subjects.
        deliver_prefixes: Prefixes of the subjects that watches deliver to. They keep callers from
            publishing to any subject through the service.
        max_watches: Watches that one instance serves; more are refused with 429.
        max_watches_per_namespace: Watches of one namespace that one instance serves; an equal share
            of `max_watches` by default, but at least 100 or the half of it.
        max_waiting: Requests of one namespace that wait for locks in one instance, beside those
            in flight; more are refused with 429.
        max_in_flight: Requests per endpoint that run side by side.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    etcd: EtcdSection = EtcdSection()
    namespaces: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")], NamespaceRule] = {}
    group: str = "etcd"
    deliver_prefixes: tuple[str, ...] = ("_INBOX.",)
    max_watches: Annotated[int, Field(ge=0)] = 10_000
    max_watches_per_namespace: Annotated[int, Field(ge=0)] | None = None
    max_waiting: Annotated[int, Field(ge=0)] = 2_000
    max_in_flight: Annotated[int, Field(ge=1)] = 512

    @model_validator(mode="after")
    def _apart(self) -> Self:
        """Refuse namespaces that lie inside one another; several rules may share one prefix."""
        prefixes = sorted((rule.prefix, token) for token, rule in self.namespaces.items())
        for (outer, token), (inner, other) in pairwise(prefixes):
            if inner != outer and inner.startswith(outer):
                raise ValueError(
                    f"namespace {other!r} with the prefix {inner!r} lies inside of {token!r} with "
                    f"{outer!r}: expected prefixes that do not contain each other"
                )
        return self

    @property
    def namespace_watches(self) -> int:
        """Watches of one namespace that one instance serves."""
        if self.max_watches_per_namespace is not None:
            return self.max_watches_per_namespace
        share = self.max_watches // max(1, len(self.namespaces))
        return max(share, min(100, self.max_watches // 2))

    @classmethod
    def load(cls, path: Path | None, environ: Mapping[str, str] = os.environ) -> Self:
        """Read a TOML file and the environment; the environment wins.

        Variables: `ETCD_ENDPOINTS` (comma-separated), `ETCD_USER`, `ETCD_PASSWORD`,
        `ETCD_PASSWORD_FILE`, `ETCD_CA`, `ETCD_CERT`, `ETCD_KEY`, and `ETCD_NAMESPACES` (entries
        `token=prefix:right+right`, separated by blanks).

        Raises:
            ConfigError: The file cannot be read, or a setting is not valid.
        """
        tables: dict[str, Any] = {}
        if path is not None:
            try:
                tables = tomllib.loads(path.read_text())
            except (OSError, ValueError) as error:
                raise ConfigError(f"cannot read configuration {str(path)!r}: {error}") from error
        section = _table(tables, "etcd") | _etcd_environment(environ)
        spaces = _table(tables, "namespaces") | _namespaces(environ.get("ETCD_NAMESPACES", ""))
        try:
            return cls.model_validate({**tables, "etcd": section, "namespaces": spaces})
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False, include_context=False)
            first = problems[0]
            where = ".".join(str(part) for part in first["loc"]) or "namespaces"
            reason = first["msg"].removeprefix("Value error, ")
            raise ConfigError(f"invalid configuration: {where}: {reason}") from error


def _table(tables: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise ConfigError(f"invalid configuration: {name}: expected a table, such as [{name}]")
    return table


def _etcd_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    section: dict[str, Any] = {
        name: environ[f"ETCD_{name.upper()}"]
        for name in ("user", "password", "password_file", "ca", "cert", "key")
        if environ.get(f"ETCD_{name.upper()}")
    }
    endpoints = environ.get("ETCD_ENDPOINTS")
    if endpoints:
        section["endpoints"] = [part.strip() for part in endpoints.split(",") if part.strip()]
    return section


def _namespaces(text: str) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    for entry in text.split():
        token, equals, rule = entry.partition("=")
        prefix, colon, rights = rule.rpartition(":")
        if not equals or not colon:
            raise ConfigError(
                f"invalid ETCD_NAMESPACES entry {entry!r}: expected token=prefix:right+right"
            )
        rules[token] = {"prefix": prefix, "allow": rights.split("+")}
    return rules
