"""A server that commits a ticket and pushes it, and does nothing more: the least that it can take.

    python -m bench.road PORT

It believes everybody, checks nothing, knows one phone, and waits for Postgres as it waits for
nobody else; the database is what libpq's environment names. What is faster than this is not
durable, not Postgres, or not Python.
"""

from __future__ import annotations

import base64
import hashlib
import selectors
import socket
import sys
from typing import Any

import psycopg2

_SCHEMA = """
CREATE TABLE messages (id bigserial PRIMARY KEY, org_id text NOT NULL, address text NOT NULL,
    body text NOT NULL, status text NOT NULL)
"""
_PREPARE = """
PREPARE store (text) AS INSERT INTO messages (org_id, address, body, status)
VALUES ('bench0', '+15550000001', $1, 'sending') RETURNING id
"""
#: RFC 6455, 1.3.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Road:
    """All connections, one of them the phone's."""

    def __init__(self, port: int) -> None:
        self._database = psycopg2.connect("")
        self._database.autocommit = True
        self._cursor = self._database.cursor()
        self._cursor.execute(_SCHEMA)
        self._cursor.execute(_PREPARE)
        self._ready = selectors.DefaultSelector()
        self._door = socket.create_server(("127.0.0.1", port), backlog=128)
        self._ready.register(self._door, selectors.EVENT_READ)
        self._phone: socket.socket | None = None

    def run(self) -> None:
        while True:
            for key, _ in self._ready.select():
                line: Any = key.fileobj
                if line is self._door:
                    self._ready.register(self._door.accept()[0], selectors.EVENT_READ)
                elif data := line.recv(65536):
                    self._hear(line, data)
                else:
                    self._ready.unregister(line)
                    line.close()

    def _hear(self, line: socket.socket, data: bytes) -> None:
        """A request, which comes in one piece or two; what the phone says is of no interest."""
        if line is self._phone:
            return
        head, _, body = data.partition(b"\r\n\r\n")
        if b"Sec-WebSocket-Key" in head:
            self._greet(line, head)
        elif head.startswith(b"POST /send"):
            line.sendall(_answered(self._sent(body.decode())))
        else:
            line.sendall(_answered(b'{"ok":true}'))

    def _sent(self, body: str) -> bytes:
        assert self._phone is not None, "the phone comes first"
        self._cursor.execute("EXECUTE store (%s)", (body,))
        ((id_,),) = self._cursor.fetchall()
        self._phone.sendall(_framed(b'{"type":"send_sms","id":%d,"body":"a text"}' % id_))
        return b'{"ok":true,"results":[{"id":%d}]}' % id_

    def _greet(self, line: socket.socket, head: bytes) -> None:
        key = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
        accepted = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.sendall(
            b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accepted + b"\r\n\r\n"
        )
        line.sendall(_framed(b'{"type":"connected","org_id":"bench0"}'))
        self._phone = line


def _answered(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def _framed(payload: bytes) -> bytes:
    return bytes((0x81, len(payload))) + payload


if __name__ == "__main__":
    Road(int(sys.argv[1])).run()
