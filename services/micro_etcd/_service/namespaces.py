"""What one caller may reach: a namespace token turned into a view of etcd and a set of rights."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from micro import Request, ServiceError
from micro_etcd._direct.communicator import EtcdCommunicator
from micro_etcd._direct.kv import KV
from micro_etcd._model.keys import Namespace
from micro_etcd._model.values import LeaseInfo
from micro_etcd._service.config import NamespaceRule, Right
from micro_etcd._wire.errors import OUTCOME
from micro_etcd._wire.models import Body
from micro_etcd.errors import EtcdLeaseNotFoundError, EtcdPermissionDeniedError

B = TypeVar("B", bound=Body)
logger = logging.getLogger("micro.etcd.service")


@dataclass(frozen=True, slots=True)
class View:
    """One namespace of the service.

    Attributes:
        token: Its name in subjects.
        rule: Its prefix and rights.
        whole: etcd without a namespace, for what is checked by hand.
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
        found = await self.whole.leases.time_to_live(id, keys=True)
        if found is None:
            raise EtcdLeaseNotFoundError(f"lease {id:x} has expired or was revoked")
        if not all(key.startswith(self.namespace.prefix) for key in found.keys):
            raise EtcdPermissionDeniedError(f"lease {id:x} is not of namespace {self.token!r}")
        keys = [self.namespace.strip(key) for key in found.keys]
        return LeaseInfo(found.id, found.ttl, found.granted_ttl, keys)


class Views:
    """The namespaces of a service, by the token in the subject."""

    def __init__(
        self, etcd: EtcdCommunicator[bytes], rules: Mapping[str, NamespaceRule], *, group: str
    ) -> None:
        self._position = len(group.split("."))
        self._views = {
            token: View(
                token,
                rule,
                etcd,
                etcd.namespace(rule.prefix),
                Namespace(rule.prefix.encode()),
            )
            for token, rule in rules.items()
        }

    def view(self, request: Request) -> View:
        """Return the view for a request.

        Raises:
            EtcdPermissionDeniedError: There is no such namespace.
        """
        token = request.subject().split(".")[self._position]
        view = self._views.get(token)
        if view is None:
            raise EtcdPermissionDeniedError(f"there is no namespace {token!r}")
        return view


def parse(model: type[B], data: bytes) -> B:
    """Return a request's body.

    Raises:
        ServiceError: 400, with pydantic's list of what is wrong as the body.
    """
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        details = error.json(include_url=False, include_input=False, include_context=False).encode()
        headers = {
            "Content-Type": "application/json",
            "Etcd-Error": "INVALID_ARGUMENT",
            OUTCOME: "not-applied",
        }
        raise ServiceError(400, "invalid request", data=details, headers=headers) from error
