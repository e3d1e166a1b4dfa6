"""Messages that nobody should send, as bytes of the protocol, past every client library."""

from __future__ import annotations

import socket


def hostile() -> list[bytes]:
    """Return messages as bytes of the protocol that nobody should send."""

    def headers(subject: str, block: bytes, data: bytes = b"", reply: str = "_INBOX.odd") -> bytes:
        sizes = b"%d %d" % (len(block), len(block) + len(data))
        return b"HPUB %b %b %b\r\n%b%b\r\n" % (
            subject.encode(),
            reply.encode(),
            sizes,
            block,
            data,
        )

    megabyte = b"NATS/1.0\r\n" + b"".join(b"H%d: %b\r\n" % (i, b"x" * 1000) for i in range(1000))
    return [
        headers("faults.echo", b"NATS/1.0 \xff\xfe\r\n\r\n"),
        headers("faults.echo", b"NATS/1.0 503 \xff\xfe\r\n\r\n"),
        headers("faults.echo", b"NATS/1.0\r\nX: \xff\xfe\r\n\r\n"),
        headers("faults.echo", b"NATS/1.0\r\n" + b"X: y\r\n" * 2000 + b"\r\n"),
        headers("faults.echo", b"NATS/1.0"),
        headers("$SRV.PING", b"NATS/1.0"),
        headers("faults.echo", b"\xff"),
        headers("$SRV.PING", b"\xff"),
        headers("$SRV.PING", b"NATS/1.0 503 \xff\xfe\r\n\r\n"),
        headers("$SRV.PING", b"NATS/1.0\r\nodd name(): y\r\n\r\n"),
        headers("$SRV.PING", b"NATS/1.0 \xff\xfe\r\n\r\n"),
        headers("faults.echo", b"NATS/1.0\r\nno colon here\r\n\r\n"),
        headers("$SRV.PING", b"NATS/1.0\r\nno colon here\r\n\r\n"),
        headers("$SRV.PING", megabyte + b"\r\n"),
        headers("$SRV.STATS.faults", megabyte + b"\r\n"),
        headers("faults.echo", megabyte + b"\r\n"),
        headers("$SRV.PING", b"NATS/1.0\r\nNats-Service-Error: x\r\n\r\n"),
        headers("faults.echo", b"NATS/1.0\r\nMicro-Timeout-Ms: soon\r\n\r\n"),
        headers("faults.add", b"NATS/1.0\r\n: empty name\r\n\r\n", b"[1, 2"),
        headers("faults.echo", b"NATS/1.0\r\nMicro-Timeout-Ms: -1\r\n\r\n"),
        headers("faults.echo", b"NATS/1.0\r\nMicro-Timeout-Ms: " + b"9" * 5000 + b"\r\n\r\n"),
        headers("faults.echo", b"NATS/1.0\r\nMicro-Timeout-Ms: nan\r\n\r\n"),
        headers("faults.echo", b"NATS/1.0\r\nX: a\r\nX: b\r\nx: c\r\n\r\n"),
        headers("faults.echo", b"NATS/1.0\r\n\r\n\r\n\r\n"),
        headers("faults.echo", b"NATS/1.0\r\nX: y\rNats-Service-Error: z\n\r\n\r\n"),
        headers("faults.echo", b"NATS/1.0 503\r\n\r\n"),
        headers("$SRV.PING", b"NATS/1.0 503\r\n\r\n"),
        headers("$SRV.PING", b"NATS/1.0\r\n" + b"X: y\r\n" * 2000 + b"\r\n"),
        headers("faults.echo", b"NATS/1.0\r\nX: y\r\n\r\n", reply="_INBOX.>"),
        b"PUB faults.echo _INBOX.odd 0\r\n\r\n",
        b"PUB faults.echo _INBOX.\xff\xfe 1\r\nx\r\n",
        b"PUB $SRV.PING _INBOX.\xff\xfe 0\r\n\r\n",
        b"PUB $SRV.PING faults.echo 0\r\n\r\n",
        b"PUB faults.echo faults.echo 1\r\nx\r\n",
        b"PUB faults.echo 1\r\nx\r\n",
        b"PUB faults.echo $SRV.PING 1\r\nx\r\n",
        b"PUB faults.echo $JS.API.STREAM.LIST 1\r\nx\r\n",
        b"PUB faults.echo %b 1\r\nx\r\n" % (b"r" * 3000),
        b"PUB faults.echo _INBOX.odd 1048576\r\n%b\r\n" % (b"x" * 2**20),
        b"PUB faults.hanging _INBOX.odd 4\r\nhang\r\n",
        b"PUB $SRV.INFO.faults _INBOX.odd 0\r\n\r\n",
    ]


def send_raw(port: int, message: bytes) -> None:
    """Send bytes to a server, and wait until it has read them."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.settimeout(5)
        connection.sendall(b'CONNECT {"verbose":false,"headers":true}\r\n' + message + b"PING\r\n")
        received = b""
        while b"PONG" not in received:
            more = connection.recv(65536)
            if not more:
                return
            received = received[-8:] + more
