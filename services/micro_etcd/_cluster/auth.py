"""The auth token: fetched once for all callers, renewed when the server refuses it."""

import asyncio
from collections.abc import Awaitable, Callable

from micro_etcd._model.values import EtcdCredential
from micro_etcd._pb import micro_etcd_pb2 as pb
from micro_etcd.errors import EtcdError

METHOD = "/etcdserverpb.Auth/Authenticate"


class TokenSource:
    """The current token of one user.

    `authenticate` sends a serialized AuthenticateRequest without any token: etcd 3.4 refuses to
    authenticate a caller that shows an expired one.
    """

    def __init__(
        self, credential: EtcdCredential, authenticate: Callable[[bytes], Awaitable[bytes]]
    ) -> None:
        self.token = (
            ""  # empty until the first renewal, and for good where etcd has no auth enabled
        )
        self._credential = credential
        self._authenticate = authenticate
        self._lock = asyncio.Lock()

    async def renew(self, stale: str) -> None:
        """Replace `stale`; callers that come with the same one share one request."""
        async with self._lock:
            if self.token != stale:
                return
            request = pb.AuthenticateRequest(
                name=self._credential.username, password=self._credential.password
            )
            try:
                answer = await self._authenticate(request.SerializeToString())
            except EtcdError as error:
                if "authentication is not enabled" in error.message:
                    return
                raise
            self.token = pb.AuthenticateResponse.FromString(answer).token
