"""Sends at a fixed rate, and the time until the phone holds the frame: one process, one clock.

    python -m bench.pace PORT SECRET RATE SECONDS

Requests go out when they are due, whatever became of those before.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence

import uvloop
from bench.flock import Flock

CONNECTIONS = 32


class Agent:
    """Sends over connections that stay open, each with one request at a time."""

    def __init__(self, port: int, secret: str) -> None:
        self._port = port
        self._head = f"POST /send/bench0 HTTP/1.1\r\nHost: b\r\nX-Secret-Key: {secret}\r\n"
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        self.began: dict[int, float] = {}
        self.answered: dict[int, float] = {}

    async def connect(self) -> None:
        self._free = asyncio.Queue()
        for _ in range(CONNECTIONS):
            self._free.put_nowait(await asyncio.open_connection("127.0.0.1", self._port))

    async def send(self, text: str) -> None:
        line = await self._free.get()
        began = time.perf_counter()
        answer = await self._asked(*line, json.dumps({"to": "+15550000001", "body": text}))
        id_ = json.loads(answer)["results"][0]["id"]
        self.began[id_], self.answered[id_] = began, time.perf_counter()
        self._free.put_nowait(line)

    async def _asked(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: str
    ) -> bytes:
        told = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(f"{self._head}{told}{body}".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        size = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        return await reader.readexactly(size)


async def paced(port: int, secret: str, rate: float, seconds: float) -> dict[str, float]:
    """Percentiles, in milliseconds."""
    flock, agent = Flock(port, secret, 1, 1), Agent(port, secret)
    await flock.come()
    await agent.connect()
    loop, under_way = asyncio.get_running_loop(), []
    began = loop.time()
    for at in range(int(rate * seconds)):
        await asyncio.sleep(began + at / rate - loop.time())
        under_way.append(asyncio.create_task(agent.send(f"text {at}")))
    await asyncio.gather(*under_way)
    await _all_came(flock, agent)
    pushes = [flock.arrived[id_] - at for id_, at in agent.began.items()]
    answers = [agent.answered[id_] - at for id_, at in agent.began.items()]
    return {
        **{f"push p{p} ms": _percentile(pushes, p) for p in (50, 95, 99)},
        **{f"answer p{p} ms": _percentile(answers, p) for p in (50, 99)},
    }


async def _all_came(flock: Flock, agent: Agent) -> None:
    async with asyncio.timeout(30):
        while not agent.began.keys() <= flock.arrived.keys():
            flock.news.clear()
            await flock.news.wait()


def _percentile(values: list[float], percent: int) -> float:
    return sorted(values)[int(len(values) * percent / 100)] * 1000


def main(argv: Sequence[str]) -> None:
    port, secret, rate, seconds = argv
    print(json.dumps(uvloop.run(paced(int(port), secret, float(rate), float(seconds)))))


if __name__ == "__main__":
    main(sys.argv[1:])
