"""Headers of the etcd service's messages, and the room that they need."""

from micro_etcd._model.values import KeyValue

KEY = "Etcd-Key"
FOUND = "Etcd-Found"
LEASE = "Etcd-Lease"
CREATE_REVISION = "Etcd-Create-Revision"
MOD_REVISION = "Etcd-Mod-Revision"
VERSION = "Etcd-Version"
REVISION = "Etcd-Revision"
WATCH = "Etcd-Watch"
SEQ = "Etcd-Seq"
PART = "Etcd-Part"
HEARTBEAT = "Etcd-Heartbeat"
ACK = "Etcd-Ack"
MARGIN = 4096  # bytes of a message left for headers


def history_headers(kv: KeyValue | None) -> dict[str, str]:
    """Return the headers of a raw `kv.get` reply; the payload is the value."""
    if kv is None:
        return {FOUND: "false"}
    return {
        FOUND: "true",
        MOD_REVISION: str(kv.mod_revision),
        CREATE_REVISION: str(kv.create_revision),
        VERSION: str(kv.version),
        LEASE: str(kv.lease),
    }


def read_history(key: bytes, value: bytes, headers: dict[str, str]) -> KeyValue | None:
    """Return the key of a raw `kv.get` reply."""
    if headers.get(FOUND) != "true":
        return None
    numbers = (int(headers[name]) for name in (CREATE_REVISION, MOD_REVISION, VERSION, LEASE))
    return KeyValue(key, value, *numbers)
