"""The configuration of the service by values, environment and flags."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Self
from urllib.parse import unquote, urlsplit

from micro_schema_registry._service.lookup import CacheOptions
from micro_schema_registry._service.service import ServiceOptions

BACKENDS = ("embedded", "apicurio")


@dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """Configuration of the service and of the registry behind it.

    Attributes:
        backend: `embedded` for a JetStream bucket, `apicurio` for an Apicurio Registry.
        url: Apicurio's API, such as `http://registry:8080/apis/registry/v3`. A user and password
            in it become `username` and `password`.
        token: Bearer token for Apicurio.
        username: User for Basic authentication at Apicurio.
        password: Password of that user.
        token_url: OAuth 2 token endpoint, such as Keycloak's, for client credentials.
        client_id: Client id for the token endpoint.
        client_secret: Secret of that client.
        scope: Scope to request, if any.
        ca_file: Authorities in PEM that sign Apicurio's certificate, instead of the usual ones.
        cert_file: Client certificate in PEM for Apicurio.
        key_file: Its private key, unless the certificate's file holds it.
        proxy: Proxy to Apicurio; by default `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`.
        bucket: Bucket of the embedded registry.
        replicas: Copies of a bucket that is made.
        options: Options of the service.

    Raises:
        ValueError: The values contradict each other.
    """

    backend: str = "embedded"
    url: str | None = None
    token: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token_url: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    scope: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    proxy: str | None = field(default=None, repr=False)
    bucket: str = "schemas"
    replicas: int = 1
    options: ServiceOptions = field(default_factory=ServiceOptions)

    def __post_init__(self) -> None:
        self._separate_user()
        if self.backend not in BACKENDS:
            raise ValueError(f"invalid backend {self.backend!r}: expected embedded or apicurio")
        if (self.backend == "apicurio") != (self.url is not None):
            raise ValueError(
                f"invalid url {self.url!r} for backend {self.backend!r}: "
                "expected one for 'apicurio' only"
            )
        for name in ("url", "token_url"):
            _check_url(name, getattr(self, name))
        self._check_authentication()
        if self.replicas < 1:
            raise ValueError(f"invalid replicas {self.replicas!r}: expected 1 or more")

    def _separate_user(self) -> None:
        """Keep user and password apart from the URL, which errors and log lines show."""
        before, at, rest = (self.url or "").rpartition("@")
        if not at:
            return
        scheme, slashes, user_info = before.rpartition("//")
        username, _, password = user_info.partition(":")
        object.__setattr__(self, "url", f"{scheme}{slashes}{rest}")
        if self.username is None:
            object.__setattr__(self, "username", unquote(username))
            object.__setattr__(self, "password", unquote(password))

    def _check_authentication(self) -> None:
        _check_together(self, "username", "password")
        _check_together(self, "token_url", "client_id", "client_secret")
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file is set without cert_file: expected both or neither")
        ways = [name for name in ("token", "username", "token_url") if getattr(self, name)]
        if len(ways) > 1:
            raise ValueError(f"{' and '.join(ways)} are set: expected one way to authenticate")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read `REGISTRY_BACKEND`, `REGISTRY_URL` and the other variables that `--help` names.

        A URL without a backend means Apicurio.

        Raises:
            ValueError: A value is not of its kind.
        """
        variables = os.environ if environment is None else environment
        texts = {name: variables.get(f"REGISTRY_{name.upper()}") for name in SETTINGS}
        values = {name: _read(name, text) for name, text in texts.items() if text}
        if "cache_mb" in values:
            values["max_bytes"] = values.pop("cache_mb") * 1024 * 1024
        if "url" in values:
            values.setdefault("backend", "apicurio")
        cache = CacheOptions(**_of(CacheOptions, values))
        options = ServiceOptions(**_of(ServiceOptions, values), cache=cache)
        return cls(**_of(cls, values), options=options)


class Setting(NamedTuple):
    """The kind of a setting, and its line in `--help`."""

    kind: type
    help: str


SETTINGS: dict[str, Setting] = {
    "backend": Setting(str, "embedded (default), or apicurio, which --url implies"),
    "url": Setting(str, "Apicurio's API, such as http://registry:8080/apis/registry/v3"),
    "token": Setting(str, "bearer token for Apicurio; the variable is not in process lists"),
    "username": Setting(str, "user for Basic authentication at Apicurio"),
    "password": Setting(str, "password of that user"),
    "token_url": Setting(str, "OAuth 2 token endpoint for client credentials"),
    "client_id": Setting(str, "client id for the token endpoint"),
    "client_secret": Setting(str, "secret of that client"),
    "scope": Setting(str, "scope of the token"),
    "ca_file": Setting(str, "PEM file of the authorities that sign Apicurio's certificate"),
    "cert_file": Setting(str, "PEM file of a client certificate"),
    "key_file": Setting(str, "PEM file of its private key"),
    "proxy": Setting(str, "proxy to Apicurio (default: HTTP_PROXY, HTTPS_PROXY, NO_PROXY)"),
    "bucket": Setting(str, "JetStream bucket of the embedded registry (default: schemas)"),
    "replicas": Setting(int, "copies of a new bucket (default: 1)"),
    "group": Setting(str, "prefix of the subjects (default: registry.v1)"),
    "timeout": Setting(float, "seconds for a request without a deadline (default: 2)"),
    "allow_delete": Setting(bool, "permit the deletion of artifacts and versions"),
    "latest_ttl": Setting(float, "seconds that the newest version counts as such (default: 30)"),
    "negative_ttl": Setting(float, "seconds that a missing schema counts as such (default: 2)"),
    "serve_stale": Setting(bool, "answer with the last known version during an outage"),
    "cache_mb": Setting(int, "megabytes of schemas to keep in memory (default: 64)"),
}
"""Every setting; its variable is `REGISTRY_` and the name in capitals."""

_WORDS = {int: "a whole number", float: "a number", str: "text"}


def _of(owner: type, values: Mapping[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(owner)}
    return {name: value for name, value in values.items() if name in names}


def _read(name: str, text: str) -> Any:
    kind, variable = SETTINGS[name].kind, f"REGISTRY_{name.upper()}"
    if kind is bool:
        if text.lower() in {"1", "true", "yes", "on"}:
            return True
        if text.lower() in {"0", "false", "no", "off"}:
            return False
        raise ValueError(f"invalid {variable} {text!r}: expected true or false")
    try:
        return kind(text)
    except ValueError as error:
        raise ValueError(f"invalid {variable} {text!r}: expected {_WORDS[kind]}") from error


def _check_url(name: str, url: str | None) -> None:
    if url is None:
        return
    if not url.startswith(("http://", "https://")) or not urlsplit(url).hostname:
        example = "http://host/apis/registry/v3" if name == "url" else "https://host/token"
        raise ValueError(f"invalid {name} {url!r}: expected one like {example!r}")


def _check_together(config: ServiceConfig, *names: str) -> None:
    missing = [name for name in names if getattr(config, name) is None]
    if missing and len(missing) < len(names):
        raise ValueError(f"{' and '.join(missing)} missing: expected {' and '.join(names)}")
