"""One request to the registry service, and the error that a failed one is."""

from typing import TypeVar

import nats.errors
from nats.aio.client import Client
from pydantic import BaseModel, ValidationError

import micro
from micro_schema_registry._errors import Problem, RegistryConnectionError, RequestRefusedError
from micro_schema_registry._wire.problems import Question, raised_again

M = TypeVar("M", bound=BaseModel)


class ServiceCaller:
    """Ask the service whose subjects begin with ``prefix``, and wait up to ``timeout`` seconds, of which it is told."""

    def __init__(self, nc: Client, prefix: str, timeout: float) -> None:
        self.prefix = prefix
        self._client = micro.Client(nc)
        self._timeout = timeout

    async def ask(
        self, endpoint: str, query: BaseModel, answer: type[M], question: Question | None = None
    ) -> M:
        """Return the answer of an endpoint; errors name what ``question``, or else the query, asks for."""
        subject = f"{self.prefix}.{endpoint}"
        try:
            reply = await self._client.request(
                subject,
                query.model_dump_json(exclude_none=True).encode(),
                timeout=self._timeout,
            )
            return answer.model_validate_json(reply.data)
        except micro.ServiceError as error:
            raise raised_again(error, self.prefix, question or _about(query)) from error
        except micro.PayloadTooLargeError as error:
            problem = Problem(413, type(error).__name__, str(error))
            raise RequestRefusedError(self.prefix, problem=problem) from error
        except ValidationError as error:
            reason = f"{endpoint}: expected {answer.__name__}: {error.errors()[0]['msg']}"
            raise RegistryConnectionError(self.prefix, reason) from error
        except (nats.errors.Error, OSError) as error:
            raise RegistryConnectionError(self.prefix, _reason(error, subject)) from error


def _about(query: BaseModel) -> Question:
    """Return what a request names, for the errors that say so."""
    return Question(
        group_id=getattr(query, "group", None) or "",
        artifact_id=getattr(query, "artifact", None) or "",
        version=getattr(query, "version", None),
    )


def _reason(exc: Exception, subject: str) -> str:
    if isinstance(exc, nats.errors.NoRespondersError):
        return f"nobody listens on {subject!r}: is the schema-registry service running?"
    if isinstance(exc, nats.errors.TimeoutError):
        return f"no answer from {subject!r} in time"
    return str(exc) or type(exc).__name__
