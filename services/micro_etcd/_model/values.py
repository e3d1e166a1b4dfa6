"""Values of the etcd client: addresses, credentials, enumerations, results."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Generic, NamedTuple, Self, TypeVar

_HOST = re.compile(r"[\w.:%-]+")  # names and IPv4 or IPv6 addresses
T = TypeVar("T", bound=str | bytes)  # the type of returned keys and values


class RangeRequestSortOrder(Enum):
    """Order of a sorted range read."""

    NONE = 0
    ASCEND = 1
    DESCEND = 2


class RangeRequestSortTarget(Enum):
    """Sort key of a range read."""

    KEY = 0
    VERSION = 1
    CREATE = 2
    MOD = 3
    VALUE = 4


class WatchCreateRequestFilterType(Enum):
    """Kind of event that a watch leaves out."""

    NOPUT = 0
    NODELETE = 1


class CompareCompareResult(Enum):
    """Operator of a txn comparison."""

    EQUAL = 0
    GREATER = 1
    LESS = 2
    NOT_EQUAL = 3


class CompareCompareTarget(Enum):
    """Property of a key that a txn compares."""

    VERSION = 0
    CREATE = 1
    MOD = 2
    VALUE = 3
    LEASE = 4


class WatchEventType(Enum):
    """Kind of a change."""

    PUT = 0
    DELETE = 1


@dataclass(frozen=True, slots=True)
class HostPortPair:
    """Address of an etcd endpoint; `str()` is `host:port`."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, address: str) -> Self:
        """Read `host`, `host:port`, `[v6]` or `[v6]:port`; the port is 2379 unless given.

        Blanks around it are dropped, and so is `http://` or `https://`, as etcdctl writes
        endpoints.

        Raises:
            ValueError: It has another form, or the port is not a number between 1 and 65535.
        """
        rest = address.strip()
        for scheme in ("http://", "https://"):
            rest = rest.removeprefix(scheme)
        if rest.startswith("["):
            host, bracket, rest = rest[1:].partition("]")
            port = rest.removeprefix(":") if bracket else "none"
        elif rest.count(":") > 1:
            host, port = rest, ""
        else:
            host, _, port = rest.partition(":")
        number = port if port else "2379"
        is_port = number.isascii() and number.isdecimal() and 0 < int(number[:6]) < 65536
        if not _HOST.fullmatch(host) or not is_port:
            raise ValueError(
                f"invalid etcd address {address!r}: expected host, host:port or [v6]:port"
            )
        return cls(host, int(number))


Address = HostPortPair | str


def parse_addresses(addr: Address | Sequence[Address], *, is_secure: bool) -> list[HostPortPair]:
    """Read one endpoint or several; a text may name several, separated by commas.

    Raises:
        ValueError: There is none, one has another form, or its scheme contradicts `is_secure`.
    """
    several = [addr] if isinstance(addr, HostPortPair | str) else addr
    addresses: list[HostPortPair] = []
    for item in several:
        if isinstance(item, HostPortPair):
            addresses.append(item)
            continue
        for part in item.split(","):
            scheme = part.strip().partition("://")[0]
            if scheme == ("http" if is_secure else "https"):
                wanted = "https:// with TLS" if is_secure else "TLS (secure) for https://"
                raise ValueError(f"invalid etcd address {part!r}: expected {wanted}")
            addresses.append(HostPortPair.parse(part))
    if not addresses:
        raise ValueError("invalid addr []: expected at least one endpoint")
    return addresses


@dataclass(frozen=True, slots=True)
class EtcdCredential:
    """User name and password for etcd's own authentication.

    A function as the password is called at each login, so that a new password reaches a client that
    is connected already.
    """

    username: str
    password: str | Callable[[], str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class EtcdTLS:
    """TLS files, PEM, each a path or the bytes themselves.

    Attributes:
        ca: Certificate authorities to trust; None means the system's.
        cert: Client certificate chain, for mutual TLS; needs `key`.
        key: Client private key.
        server_name: Name in the server's certificate, if it differs from the host.
    """

    ca: Path | str | bytes | None = None
    cert: Path | str | bytes | None = None
    key: Path | str | bytes | None = field(default=None, repr=False)
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class EtcdLockOption:
    """Options of `EtcdClient.with_lock`; times in seconds.

    Attributes:
        lock_name: Name of the lock; its keys are `name/<lease in hex>`, as in Go's Mutex.
        timeout: Longest wait for the lock; None waits for ever.
        ttl: Hard limit from acquisition; None renews while the lock is held.
        on_lost: Called once when the lock is lost before it was released.
    """

    lock_name: str | bytes
    timeout: float | None = None
    ttl: int | None = None
    on_lost: Callable[[], object] | None = None


class KeyValue(NamedTuple):
    """A key with its value and history, bytes as etcd keeps them."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int


@dataclass(frozen=True, slots=True)
class RangeResult:
    """Result of a range read.

    Attributes:
        kvs: The keys, in the requested order.
        revision: Revision of the store at the read.
        more: True when `limit` cut the answer short.
        count: Number of keys in the range without the limit.
    """

    kvs: list[KeyValue]
    revision: int
    more: bool
    count: int


class PutResult(NamedTuple):
    """Result of a put: its revision, and the previous key if requested."""

    revision: int
    prev: KeyValue | None


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """Result of a delete: the number of keys, and the keys if requested."""

    revision: int
    deleted: int
    prev: list[KeyValue]


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """State of a lease; `ttl` and `granted_ttl` in seconds, `keys` only if requested."""

    id: int
    ttl: int
    granted_ttl: int
    keys: list[bytes]


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """Status of one member."""

    endpoint: str
    version: str
    member_id: int
    leader: int
    revision: int
    raft_term: int
    db_size_bytes: int
    is_learner: bool
    errors: list[str]


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[T]):
    """One change of one key; a DELETE has an empty `value`, `prev_value` only if requested."""

    key: T
    value: T
    prev_value: T | None
    event: WatchEventType
