"""The adding of endpoints and groups, and the inheritance of their options."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Unpack

from micro._endpoint.endpoint import Endpoint, EndpointConfig, ServedEndpoint
from micro._endpoint.options import EndpointDefaults
from micro._events.declaring import EventOwner
from micro._handlers.middleware import Middleware
from micro._handlers.typed import AnyHandler
from micro._protocol import subjects


class EndpointOwner(EventOwner):
    """Base class of services and groups: adds endpoints, handlers of events, and groups."""

    async def add_endpoint(  # noqa: PLR0913 - the documented signature
        self,
        name: str,
        handler: AnyHandler,
        subject: str | None = None,
        queue_group: str | None = None,
        metadata: dict[str, str] | None = None,
        pending_bytes_limit: int | None = None,
        pending_msgs_limit: int | None = None,
        middlewares: Iterable[Middleware] | None = None,
        *,
        stats_handler: Callable[[Endpoint], Any] | None = None,
        allow_wildcards: bool = False,
        **options: Unpack[EndpointDefaults],
    ) -> Endpoint:
        """Add an endpoint: a handler for the requests to one subject.

        Returns when the server has the subscription.

        Args:
            name: The name of the endpoint: letters, digits, `-` and `_`.
            handler: `async (request)`, or a typed handler such as `async (pair: Pair) -> int`;
                `def` runs in a thread unless marked with `micro.cheap`.
            subject: The last part of the subject, behind the group's; the name by default.
            queue_group: Inherited from group and service by default; empty for none, so that every
                instance gets every request.
            metadata: Strings; at most 128 KiB.
            pending_bytes_limit: Payload bytes that may wait for a free place; 32 MiB by default.
            pending_msgs_limit: Requests that may wait for a free place, by default eight for each
                that may run; more are refused with 503 at once.
            middlewares: Middlewares inside those of group and service, first one outermost.
            stats_handler: Called with the endpoint, sync or async, for `data` in STATS: any JSON.
            allow_wildcards: Accept `>`, a leading `*` and a leading `$` in the subject.
            **options: Options of `EndpointDefaults`, such as `max_in_flight` and `timeout`;
                inherited from group and service by default.

        Raises:
            ConfigError: A value is not acceptable, or the service listens on the subject already.
            StoppedError: The service is not running.
            PermissionDeniedError: The server refuses the subscription.
            IncompatibleContractError: The service has contracts, and a schema breaks one.
            ConnectError: The server does not answer.
        """
        scope = self._scope
        narrowed = scope.options.narrowed(
            queue_group=queue_group,
            pending_bytes_limit=pending_bytes_limit,
            pending_msgs_limit=pending_msgs_limit,
            middlewares=middlewares,
            **options,
        )
        config = EndpointConfig(
            scope.service,
            scope.instance,
            subjects.check_name("endpoint", name),
            subjects.check_subject(
                subjects.join(scope.prefix, name if subject is None else subject),
                allow_wildcards=allow_wildcards,
            ),
            subjects.check_metadata(metadata),
            narrowed,
            stats_handler,
            scope.prefix,
        )
        subjects.check_length("subject with queue group", config.subject, narrowed.queue_group)
        return await self._add(config, handler, ServedEndpoint)

    def add_group(
        self,
        name: str,
        queue_group: str | None = None,
        pending_bytes_limit_by_endpoint: int | None = None,
        pending_msgs_limit_by_endpoint: int | None = None,
        *,
        middlewares: Iterable[Middleware] | None = None,
        **options: Unpack[EndpointDefaults],
    ) -> Group:
        """Add a group: endpoints that share a subject prefix and defaults.

        Args:
            name: The prefix, tokens separated by dots; empty adds none.
            queue_group: Default of the group's endpoints; inherited, empty for none.
            pending_bytes_limit_by_endpoint: Default of the group's endpoints; inherited.
            pending_msgs_limit_by_endpoint: Default of the group's endpoints; inherited.
            middlewares: Middlewares inside those of the parent and around those of the endpoints.
            **options: Options of `EndpointDefaults`, such as `max_in_flight` and `timeout`.

        Raises:
            ConfigError: A value is not acceptable.
        """
        scope = self._scope
        if name:
            subjects.check_prefix("group name", name)
        narrowed = scope.options.narrowed(
            queue_group=queue_group,
            pending_bytes_limit=pending_bytes_limit_by_endpoint,
            pending_msgs_limit=pending_msgs_limit_by_endpoint,
            middlewares=middlewares,
            **options,
        )
        prefix = subjects.join(scope.prefix, name)
        subjects.check_length("group name", prefix)
        return Group(scope._replace(prefix=prefix, options=narrowed), self._add)


class Group(EndpointOwner):
    """Endpoints of a service under a common subject prefix; made by `add_group`."""
