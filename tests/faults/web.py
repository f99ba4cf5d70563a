"""As much of an HTTP client as agents need: one connection that is kept, one call at a time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

#: Far longer than any answer may take. Seconds.
PATIENCE = 15.0


class NoAnswer(Exception):
    """Whether the request was understood, nobody knows."""


class NobodyThere(NoAnswer):
    """There was no connection."""


class Line:
    """A connection to the gateway at 127.0.0.1, opened again when it broke."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(
        self, path: str, body: dict[str, Any], key: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON of the answer; raises `NoAnswer`. ``key`` is an Idempotency-Key."""
        named = f"Idempotency-Key: {key}\r\n" if key else ""
        return await self._call(f"POST {path}", named, json.dumps(body).encode())

    async def delete(self, path: str, secret: str) -> tuple[int, dict[str, Any]]:
        """Status and JSON of the answer; raises `NoAnswer`."""
        return await self._call(f"DELETE {path}", f"X-Secret-Key: {secret}\r\n", b"")

    async def put(self, path: str, secret: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and JSON of the answer; raises `NoAnswer`."""
        fields = f"X-Secret-Key: {secret}\r\n"
        return await self._call(f"PUT {path}", fields, json.dumps(body).encode())

    async def _call(self, what: str, fields: str, body: bytes) -> tuple[int, dict[str, Any]]:
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._exchange(what, fields, body)
        except (OSError, EOFError, ValueError, IndexError, TimeoutError) as error:
            self.close()
            raise NoAnswer(str(error)) from None

    async def _exchange(self, what: str, more: str, body: bytes) -> tuple[int, dict[str, Any]]:
        reader, writer = await self._open()
        head = f"{what} HTTP/1.1\r\nHost: gateway\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in answer[1:] if ": " in line)
        told = await reader.readexactly(int(fields["content-length"]))
        if fields.get("connection") == "close":
            self.close()
        return int(answer[0].split()[1]), json.loads(told)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            try:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError as error:
                raise NobodyThere(str(error)) from None
        return self._streams

    def close(self) -> None:
        """Until the next call."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].transport.abort()
