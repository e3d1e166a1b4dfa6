"""One request to the registry service, and its errors."""

from typing import TypeVar

import nats.errors
from nats.aio.client import Client
from pydantic import BaseModel, ValidationError

import micro
from micro_schema_registry._errors import Problem, RegistryConnectionError, RequestRefusedError
from micro_schema_registry._wire.models import IdQuery
from micro_schema_registry._wire.problems import Question, raised_again

M = TypeVar("M", bound=BaseModel)


class ServiceCaller:
    """Requests below the subject `prefix`, each with a deadline of `timeout` seconds."""

    def __init__(self, nc: Client, prefix: str, timeout: float) -> None:
        self.prefix = prefix
        self._client = micro.Client(nc)
        self._timeout = timeout

    async def ask(self, endpoint: str, query: BaseModel, answer: type[M]) -> M:
        """Return the answer of an endpoint; errors have the names in the query."""
        subject = f"{self.prefix}.{endpoint}"
        try:
            reply = await self._client.request(
                subject,
                query.model_dump_json(exclude_none=True).encode(),
                timeout=self._timeout,
            )
            return answer.model_validate_json(reply.data)
        except micro.ServiceError as error:
            raise raised_again(error, self.prefix, _about(query)) from error
        except micro.PayloadTooLargeError as error:
            problem = Problem(413, type(error).__name__, str(error))
            raise RequestRefusedError(self.prefix, problem=problem) from error
        except ValidationError as error:
            reason = f"{endpoint}: expected {answer.__name__}: {error.errors()[0]['msg']}"
            raise RegistryConnectionError(self.prefix, reason) from error
        except (nats.errors.Error, OSError) as error:
            raise RegistryConnectionError(self.prefix, _reason(error, subject)) from error


def _about(query: BaseModel) -> Question:
    """Return the names in a request, for its errors."""
    if isinstance(query, IdQuery):
        id_type, id_value = query.key()
        return Question(id_type=id_type, id_value=id_value)
    return Question(
        group_id=getattr(query, "group", None) or "",
        artifact_id=getattr(query, "artifact", None) or "",
        version=getattr(query, "version", None),
    )


def _reason(error: Exception, subject: str) -> str:
    if isinstance(error, nats.errors.NoRespondersError):
        return f"no service listens on {subject!r}: is the schema-registry service running?"
    if isinstance(error, nats.errors.TimeoutError):
        return f"no answer from {subject!r} in time"
    return str(error) or type(error).__name__
