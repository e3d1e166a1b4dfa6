"""The status of the members of a cluster."""

import asyncio

from micro_etcd._cluster.channel import Channel
from micro_etcd._cluster.connection import Connection
from micro_etcd._model.values import EndpointStatus
from micro_etcd._pb import micro_etcd_pb2 as pb
from micro_etcd.errors import EtcdError

STATUS = "/etcdserverpb.Maintenance/Status"


async def status(connection: Connection) -> list[EndpointStatus]:
    """Return the status of every endpoint; `errors` says why one does not answer."""
    return list(await asyncio.gather(*(_ask(connection, each) for each in connection.channels)))


async def _ask(connection: Connection, channel: Channel) -> EndpointStatus:
    try:
        body = await connection.ask(channel, STATUS, pb.StatusRequest().SerializeToString())
    except EtcdError as error:
        return EndpointStatus(channel.endpoint, "", 0, 0, 0, 0, 0, False, [error.message])
    answer = pb.StatusResponse.FromString(body)
    return EndpointStatus(
        channel.endpoint,
        answer.version,
        answer.header.member_id,
        answer.leader,
        answer.header.revision,
        answer.raft_term,
        answer.db_size,
        answer.is_learner,
        list(answer.errors),
    )
