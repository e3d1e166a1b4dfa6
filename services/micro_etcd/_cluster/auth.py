"""The auth token: fetched once for all callers, renewed when the server refuses it."""

import asyncio
from collections.abc import Awaitable, Callable

from micro_etcd._model.values import EtcdCredential
from micro_etcd._pb import micro_etcd_pb2 as pb
from micro_etcd.errors import EtcdError

METHOD = "/etcdserverpb.Auth/Authenticate"


class TokenSource:
    """The current token of one user.

    `authenticate` sends a serialized AuthenticateRequest without a token: etcd 3.4 refuses a caller
    with an expired one.
    """

    def __init__(
        self, credential: EtcdCredential, authenticate: Callable[[bytes], Awaitable[bytes]]
    ) -> None:
        self.token = ""  # until the first renewal, and where etcd has no authentication enabled
        self._credential = credential
        self._authenticate = authenticate
        self._lock = asyncio.Lock()

    async def renew(self, stale: str) -> None:
        """Replace `stale`; callers with the same stale token share one request."""
        async with self._lock:
            if self.token != stale:
                return
            password = self._credential.password
            request = pb.AuthenticateRequest(
                name=self._credential.username,
                password=password() if callable(password) else password,
            )
            try:
                answer = await self._authenticate(request.SerializeToString())
            except EtcdError as error:
                if "authentication is not enabled" not in error.message:
                    raise
                # Switched off meanwhile; servers before 3.7 refuse old tokens all the same.
                self.token = ""
                return
            self.token = pb.AuthenticateResponse.FromString(answer).token
