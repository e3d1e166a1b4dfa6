"""The least that a responder in pure Python can do. usage: floor.py URL SUBJECT"""

import asyncio
import sys
from urllib.parse import urlparse


class Responder(asyncio.Protocol):
    def __init__(self, subject: str) -> None:
        self.hello = (
            b'CONNECT {"verbose":false,"headers":true}\r\nSUB %b q 1\r\n' % subject.encode()
        )
        self.parts: list[bytes] = []
        self.missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.hello)

    def data_received(self, data: bytes) -> None:
        if self.parts:
            self.parts.append(data)
            self.missing -= len(data)
            if self.missing > 0:
                return
            data = b"".join(self.parts)
            self.parts.clear()
        position, answers = 0, []
        while (line_end := data.find(b"\r\n", position)) >= 0:
            start = line_end + 2
            if data[position] in b"MH":
                words = data[position:line_end].split()
                end = start + int(words[-1])
                self.missing = end + 2 - len(data)
                if self.missing > 0:
                    break
                body = start + int(words[-2]) if words[0] == b"HMSG" else start
                answers.append(b"PUB %b %d\r\n%b\r\n" % (words[3], end - body, data[body:end]))
                position = end + 2
            else:
                if data.startswith(b"PING", position):
                    answers.append(b"PONG\r\n")
                position = start
        if position < len(data):
            self.parts.append(data[position:])
        if answers:
            self.transport.write(b"".join(answers))


async def main(url: str, subject: str) -> None:
    where = urlparse(url)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: Responder(subject), where.hostname, where.port)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:3]))
