"""A lean requester in its own process: `generator.py PORT SUBJECT WINDOW SECONDS` prints req/s.

Keeps WINDOW empty requests outstanding over a bare socket, so that it costs less than the service.
"""

import socket
import sys
import time

port, subject, window, seconds = (
    int(sys.argv[1]),
    sys.argv[2].encode(),
    int(sys.argv[3]),
    float(sys.argv[4]),
)
request = b"PUB " + subject + b" _INBOX.generator 0\r\n\r\n"

connection = socket.create_connection(("127.0.0.1", port))
connection.sendall(
    b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB _INBOX.generator 1\r\n'
)
connection.sendall(request * window)
connection.settimeout(60)
began, count, rest = time.perf_counter(), 0, b""
while time.perf_counter() - began < seconds:
    received = rest + connection.recv(65536)
    assert b"NATS/1.0" not in received, "an error answer, or nobody to answer"
    answered = received.count(b"MSG _INBOX.generator 1 0\r\n\r\n")
    rest = received[received.rfind(b"\r\n\r\n") + 4 :] if answered else received
    count += answered
    connection.sendall(request * answered)
print(count / (time.perf_counter() - began))
