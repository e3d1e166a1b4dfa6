"""The namespaces of the service: a token in the subject stands for a prefix and a set of rights."""

from collections.abc import Mapping
from dataclasses import dataclass

from micro import Request
from micro_etcd._direct.communicator import EtcdCommunicator
from micro_etcd._direct.kv import KV
from micro_etcd._model.keys import Namespace
from micro_etcd._model.values import LeaseInfo
from micro_etcd._service.config import NamespaceRule, Right
from micro_etcd.errors import EtcdLeaseNotFoundError, EtcdPermissionDeniedError


@dataclass(frozen=True, slots=True)
class View:
    """One namespace of the service.

    Attributes:
        token: Its name in subjects.
        rule: Its prefix and rights.
        whole: etcd without a namespace; its users check every key themselves.
        inside: etcd under the prefix.
        namespace: The prefix as bytes.
    """

    token: str
    rule: NamespaceRule
    whole: EtcdCommunicator[bytes]
    inside: EtcdCommunicator[bytes]
    namespace: Namespace

    @property
    def kv(self) -> KV:
        """Keys under the prefix."""
        return self.inside.kv

    def need(self, *rights: Right) -> None:
        """Return if the namespace has these rights.

        Raises:
            EtcdPermissionDeniedError: It lacks one.
        """
        for right in rights:
            if right not in self.rule.allow:
                raise EtcdPermissionDeniedError(f"namespace {self.token!r} may not {right}")

    async def own_lease(self, id: int) -> LeaseInfo:
        """Return the state of a lease that has keys of this namespace only, or none.

        Leases belong to the whole cluster, and revoking one deletes its keys wherever they are.

        Raises:
            EtcdLeaseNotFoundError: It is gone.
            EtcdPermissionDeniedError: It has keys elsewhere.
        """
        lease = await self.whole.leases.time_to_live(id, keys=True)
        if lease is None:
            raise EtcdLeaseNotFoundError(f"lease {id:x} has expired or was revoked")
        if not all(key.startswith(self.namespace.prefix) for key in lease.keys):
            raise EtcdPermissionDeniedError(f"lease {id:x} is not of namespace {self.token!r}")
        keys = [self.namespace.strip(key) for key in lease.keys]
        return LeaseInfo(lease.id, lease.ttl, lease.granted_ttl, keys)


class Namespaces:
    """The namespaces of a service, by the token in the subject."""

    def __init__(
        self, etcd: EtcdCommunicator[bytes], rules: Mapping[str, NamespaceRule], *, group: str
    ) -> None:
        self._position = len(group.split("."))
        self._views = {
            token: View(
                token, rule, etcd, etcd.namespace(rule.prefix), Namespace(rule.prefix.encode())
            )
            for token, rule in rules.items()
        }

    def view(self, request: Request, *rights: Right) -> View:
        """Return the namespace of a request.

        Raises:
            EtcdPermissionDeniedError: There is no such namespace, or it lacks one of the rights.
        """
        token = request.subject().split(".")[self._position]
        view = self._views.get(token)
        if view is None:
            raise EtcdPermissionDeniedError(f"there is no namespace {token!r}")
        view.need(*rights)
        return view
