"""Valid but odd messages, as bytes of the protocol, independent of every client library."""

from __future__ import annotations

import socket


def hostile() -> list[bytes]:
    """Return odd messages that are harmless to every client."""

    def message(
        subject: str,
        *lines: bytes,
        status: bytes = b"",
        data: bytes = b"",
        reply: str = "_INBOX.odd",
    ) -> bytes:
        block = b"NATS/1.0%b\r\n%b\r\n" % (status, b"".join(b"%b\r\n" % line for line in lines))
        sizes = b"%d %d" % (len(block), len(block) + len(data))
        return b"HPUB %b %b %b\r\n%b%b\r\n" % (
            subject.encode(),
            reply.encode(),
            sizes,
            block,
            data,
        )

    many = [b"X: y"] * 2000
    return [
        message("faults.echo"),
        message("$SRV.PING"),
        message("faults.echo", *many),
        message("$SRV.PING", *many),
        message("$SRV.STATS.faults", *many),
        message("faults.echo", status=b" 503"),
        message("$SRV.PING", status=b" 503"),
        message("faults.echo", b"Nats-Service-Error: x", b"Nats-Service-Error-Code: 1"),
        message("$SRV.PING", b"Nats-Service-Error: x", b"Nats-Service-Error-Code: 1"),
        message("faults.echo", b"Micro-Timeout-Ms: soon"),
        message("faults.echo", b"Micro-Timeout-Ms: -1"),
        message("faults.echo", b"Micro-Timeout-Ms: " + b"9" * 5000),
        message("faults.echo", b"Micro-Timeout-Ms: nan"),
        message("faults.echo", b"Micro-Timeout-Ms:"),
        message("faults.echo", b"X: a", b"X: b", b"x: c"),
        message("faults.add", b"X: y", data=b"[1, 2"),
        message("faults.echo", b"X: y", reply="_INBOX.>"),
        b"PUB faults.echo _INBOX.odd 0\r\n\r\n",
        b"PUB $SRV.PING faults.echo 0\r\n\r\n",
        b"PUB faults.echo faults.echo 1\r\nx\r\n",
        b"PUB faults.echo 1\r\nx\r\n",
        b"PUB faults.echo $SRV.PING 1\r\nx\r\n",
        b"PUB faults.echo $JS.API.STREAM.LIST 1\r\nx\r\n",
        b"PUB faults.echo %b 1\r\nx\r\n" % (b"r" * 2000),
        b"PUB faults.echo _INBOX.odd 500000\r\n%b\r\n" % (b"x" * 500_000),
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
