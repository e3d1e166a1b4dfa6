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
        except micro.ServiceError as exc:
            raise raised_again(exc, self.prefix, question or _about(query)) from exc
        except micro.PayloadTooLargeError as exc:
            problem = Problem(413, type(exc).__name__, str(exc))
            raise RequestRefusedError(self.prefix, problem=problem) from exc
        except ValidationError as exc:
            reason = f"{endpoint}: expected {answer.__name__}: {exc.errors()[0]['msg']}"
            raise RegistryConnectionError(self.prefix, reason) from exc
        except (nats.errors.Error, OSError) as exc:
            raise RegistryConnectionError(self.prefix, _reason(exc, subject)) from exc


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
