"""What a webhook costs in instructions, which a busy machine cannot change.

    python -m bench.cost ours|bare COUNT

``ours`` is the whole REST face over a wire in memory, from the bytes that arrive to the bytes of
the answer, with a gateway behind it that stores nothing. ``bare`` is the yardstick: the same
request answered by a resource of twisted.web that reads the same JSON. Under callgrind, with two
counts, the difference is what one request takes; the ratio of the two hardly depends on the
version of Python.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.http import Request as BareRequest
from twisted.web.resource import Resource
from twisted.web.server import Site as BareSite
from zope.interface import implementer

from smsd.gateway.doorman import Caller
from smsd.rest.api import Api
from smsd.rest.services import Services
from smsd.rest.site import Site

#: Requests of the two runs whose difference counts; so many that what varies in a start does not.
FEW, MANY = 100, 2100
_TESTS = Path(__file__).parents[1]
_PATHS = os.pathsep.join([str(_TESTS.parent), str(_TESTS)])
_SMS = {"address": "+15551234567", "body": "a text as long as most of those that people write"}
_SMS |= {"date": 1700000000000, "sim_slot": 0, "id": "12345"}
_BODY = json.dumps({"org_id": "bench0", "secret_key": "a-secret-of-the-bench", "messages": [_SMS]})
_REQUEST = (
    "POST /webhook HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(_BODY)}\r\n\r\n{_BODY}"
).encode()


@implementer(ITCPTransport)
class Wire(StringTransport):
    """Takes what a socket takes, and keeps it."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no delay."""


class Nothing:
    """A gateway that admits everybody and stores nothing."""

    async def recognise(self, credentials: Any, address: str, **claim: Any) -> Caller:
        return Caller("bench0")

    async def store(self, caller: Caller, messages: Sequence[Any]) -> int:
        return len(messages)


class Bare(Resource):
    """Reads the JSON and says how much it was."""

    isLeaf = True

    def render_POST(self, request: BareRequest) -> bytes:
        assert request.content is not None
        said = json.loads(request.content.read())
        request.setHeader(b"Content-Type", b"application/json")
        return json.dumps({"ok": True, "stored": len(said["messages"])}).encode()


def ours() -> Any:
    parts: dict[str, Any] = {part.name: Nothing() for part in fields(Services) if _needed(part)}
    return Site(Api(Services(**parts)), Clock())


def _needed(part: Field[Any]) -> bool:
    return part.default is MISSING and part.default_factory is MISSING


def bare() -> Any:
    site = BareSite(Bare(), reactor=Clock())
    site._openLogFile = lambda path: open(os.devnull, "wb")  # noqa: SIM115 - Twisted closes it
    return site


FACES: dict[str, Callable[[], Any]] = {"ours": ours, "bare": bare}


def ask(face: str, count: int) -> None:
    """So many requests over one connection; each must be answered with 200."""
    site, wire = FACES[face](), Wire()
    protocol = site.buildProtocol(wire.getPeer())
    protocol.makeConnection(wire)
    for _ in range(count):
        protocol.dataReceived(_REQUEST)
        answer = wire.value()
        wire.clear()
        assert answer.startswith(b"HTTP/1.1 200 "), answer


def instructions() -> dict[str, float]:
    """What one request takes of each face, by callgrind; several runs at once change no count."""
    runs = [(face, count) for face in FACES for count in (FEW, MANY)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counted = dict(zip(runs, pool.map(_counted, runs), strict=True))
    return {face: (counted[face, MANY] - counted[face, FEW]) / (MANY - FEW) for face in FACES}


def _counted(run: tuple[str, int]) -> int:
    face, count = run
    callgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    ran = subprocess.run(
        [*callgrind, sys.executable, "-m", "bench.cost", face, str(count)],
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": _PATHS},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Collected\s*:\s*(\d+)", ran.stderr)
    if ran.returncode or found is None:
        raise RuntimeError(f"callgrind failed:\n{ran.stderr}")
    return int(found[1])


if __name__ == "__main__":
    ask(sys.argv[1], int(sys.argv[2]))
