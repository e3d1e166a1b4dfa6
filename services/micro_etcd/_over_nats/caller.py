"""Requests to the etcd service, their repetition, and their errors."""

import asyncio
from collections.abc import Mapping
from typing import TypeVar

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from pydantic import BaseModel, ValidationError

from micro import Client, Context, MicroError, ServiceError
from micro_etcd._backoff import backoff
from micro_etcd._wire.errors import from_nats_error, from_service_error
from micro_etcd.errors import (
    EtcdDeadlineExceededError,
    EtcdError,
    EtcdOutcomeUnknownError,
    EtcdUnavailableError,
    EtcdUnknownError,
)

R = TypeVar("R", bound=BaseModel)
ATTEMPT = 3.0  # seconds for one attempt of a request that may be repeated


class Caller:
    """A caller of the etcd service for one namespace."""

    def __init__(
        self, nc: NatsClient | Context, namespace: str, *, group: str, timeout: float
    ) -> None:
        self._nc = nc
        self._base = f"{group}.{namespace}."
        self.timeout = timeout

    @property
    def nc(self) -> NatsClient:
        """The connection; a context may have replaced it."""
        return self._nc.client if isinstance(self._nc, Context) else self._nc

    async def call(
        self,
        operation: str,
        body: BaseModel,
        reply: type[R],
        *,
        write: bool = False,
        timeout: float | None = None,
        patience: float = 0.0,
    ) -> R:
        """Send a body and return the answer as a model; see `send`.

        Args:
            operation: The end of the subject.
            body: The request.
            reply: The model of the answer.
            write: Whether the request must not be applied twice.
            timeout: Seconds for all attempts; the client's by default.
            patience: Seconds that the request asks the service to wait.
        """
        data = body.model_dump_json(exclude_defaults=True, by_alias=True).encode()
        limit = (self.timeout if timeout is None else timeout) + patience
        attempt = max(ATTEMPT, limit / 3) + patience
        answer = await self.send(operation, data, None, write=write, timeout=limit, attempt=attempt)
        try:
            return reply.model_validate_json(answer.data)
        except ValidationError as error:
            reason = f"unreadable answer to {operation}"
            raise (EtcdOutcomeUnknownError if write else EtcdUnknownError)(reason) from error

    async def send(
        self,
        operation: str,
        data: bytes,
        headers: Mapping[str, str] | None,
        *,
        write: bool = False,
        timeout: float | None = None,
        attempt: float = ATTEMPT,
    ) -> Msg:
        """Send a request and return the answer.

        Reads are repeated until the time is over, writes only when they were surely not applied.

        Raises:
            EtcdError: The error of the answer, or of a missing one.
        """
        limit = self.timeout if timeout is None else timeout
        deadline = asyncio.get_running_loop().time() + limit
        attempts = 0
        reason: EtcdError | None = None
        while True:
            left = deadline - asyncio.get_running_loop().time()
            share = left if write else min(left, attempt)
            try:
                return await self._try(operation, data, headers, write=write, timeout=share)
            except (EtcdUnavailableError, EtcdDeadlineExceededError) as error:
                # The last attempt may lack the time for an answer; an earlier one said more.
                if reason is None or isinstance(error, EtcdUnavailableError):
                    reason = error
                pause = backoff(attempts)
                if asyncio.get_running_loop().time() + pause >= deadline:
                    raise reason from reason.__cause__
            await asyncio.sleep(pause)
            attempts += 1

    async def tell(self, operation: str, body: BaseModel) -> None:
        """Send a body without waiting for an answer."""
        await self.nc.publish(self._base + operation, body.model_dump_json().encode())

    async def _try(
        self,
        operation: str,
        data: bytes,
        headers: Mapping[str, str] | None,
        *,
        write: bool,
        timeout: float,
    ) -> Msg:
        subject = self._base + operation
        given = None if headers is None else dict(headers)
        try:
            return await Client(self.nc).request(subject, data, given, timeout=timeout)
        except ServiceError as refusal:
            error: EtcdError = from_service_error(refusal, write=write)
            raise error from refusal
        except (nats.errors.Error, MicroError, OSError) as error:
            raise from_nats_error(error, subject, write=write) from error
