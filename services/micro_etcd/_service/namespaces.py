"""The namespaces of the service: a token in the subject stands for a prefix and a set of rights."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from micro import Request
from micro_etcd._direct.communicator import EtcdCommunicator
from micro_etcd._direct.kv import KV
from micro_etcd._model.keys import Namespace
from micro_etcd._model.values import KeyValue, LeaseInfo
from micro_etcd._service import lease_ids
from micro_etcd._service.config import NamespaceRule, Right
from micro_etcd._wire.values import Item
from micro_etcd.errors import (
    EtcdLeaseExistsError,
    EtcdLeaseNotFoundError,
    EtcdOutcomeUnknownError,
    EtcdPermissionDeniedError,
)

GRANTS = 2  # further attempts to grant a lease


@dataclass(frozen=True, slots=True)
class View:
    """One namespace of the service.

    Attributes:
        token: Its name in subjects.
        rule: Its prefix and rights.
        whole: etcd without a namespace; its users check every key themselves.
        inside: etcd under the prefix.
        reads: Keys under the prefix; an answer that no message could carry is refused unread.
        namespace: The prefix as bytes.
    """

    token: str
    rule: NamespaceRule
    whole: EtcdCommunicator[bytes]
    inside: EtcdCommunicator[bytes]
    reads: KV
    namespace: Namespace

    @property
    def kv(self) -> KV:
        """Keys under the prefix."""
        return self.inside.kv

    def need(self, right: Right) -> None:
        """Return if the namespace has a right.

        Raises:
            EtcdPermissionDeniedError: It lacks the right.
        """
        if right not in self.rule.allow:
            raise EtcdPermissionDeniedError(f"namespace {self.token!r} may not {right}")

    async def grant(self, ttl: int) -> LeaseInfo:
        """Grant a lease that belongs to this namespace."""
        for _ in range(GRANTS):
            # A grant without an answer leaves a lease that ends by itself, so another is made.
            with contextlib.suppress(EtcdLeaseExistsError, EtcdOutcomeUnknownError):
                return await self.whole.leases.grant(ttl, lease_ids.draw(self.namespace.prefix))
        return await self.whole.leases.grant(ttl, lease_ids.draw(self.namespace.prefix))

    async def check_lease(self, id: int | None) -> None:
        """Return if a lease belongs to this namespace, or is None.

        Raises:
            EtcdLeaseNotFoundError: There is no such lease.
            EtcdPermissionDeniedError: It belongs to another namespace, or to none.
        """
        if id is None or self.owns(id):
            return
        if await self.whole.leases.time_to_live(id) is None:
            raise EtcdLeaseNotFoundError(f"lease {id:x} has expired or was revoked")
        raise EtcdPermissionDeniedError(f"lease {id:x} is not of namespace {self.token!r}")

    async def lease(self, id: int) -> LeaseInfo:
        """Return the state of a lease of this namespace.

        Raises:
            EtcdLeaseNotFoundError: It is gone.
            EtcdPermissionDeniedError: It is of another namespace, or has keys of another.
        """
        await self.check_lease(id)
        lease = await self.whole.leases.time_to_live(id, keys=True)
        if lease is None:
            raise EtcdLeaseNotFoundError(f"lease {id:x} has expired or was revoked")
        # A direct client may have bound its keys to the lease; revoking it would delete them.
        if not all(key.startswith(self.namespace.prefix) for key in lease.keys):
            raise EtcdPermissionDeniedError(f"lease {id:x} has keys outside of {self.token!r}")
        keys = [self.namespace.strip(key) for key in lease.keys]
        return LeaseInfo(lease.id, lease.ttl, lease.granted_ttl, keys)

    def owns(self, lease: int) -> bool:
        """Return whether a lease belongs to this namespace; 0 stands for no lease."""
        return not lease or lease_ids.belongs(self.namespace.prefix, lease)

    def shown(self, kv: KeyValue) -> KeyValue:
        """Return a key as its callers may see it: without the id of a lease of others."""
        return kv if self.owns(kv.lease) else kv._replace(lease=0)

    def item(self, kv: KeyValue, *, keys_only: bool = False) -> Item:
        """Return a key as its callers may see it, for a reply."""
        return Item.of(self.shown(kv), keys_only=keys_only)


class Namespaces:
    """The namespaces of a service, by the token in the subject."""

    def __init__(
        self,
        etcd: EtcdCommunicator[bytes],
        bounded: EtcdCommunicator[bytes],
        rules: Mapping[str, NamespaceRule],
        *,
        group: str,
    ) -> None:
        self._position = len(group.split("."))
        self._views = {
            token: View(
                token,
                rule,
                etcd,
                etcd.namespace(rule.prefix),
                bounded.namespace(rule.prefix).kv,
                Namespace(rule.prefix.encode()),
            )
            for token, rule in rules.items()
        }

    def view(self, request: Request, right: Right | None = None) -> View:
        """Return the namespace of a request.

        Raises:
            EtcdPermissionDeniedError: There is no such namespace, or it lacks the right.
        """
        token = request.subject().split(".")[self._position]
        view = self._views.get(token)
        if view is None:
            raise EtcdPermissionDeniedError(f"there is no namespace {token!r}")
        if right is not None:
            view.need(right)
        return view
