"""Strangers who mean harm: framings that two parsers read differently, and bombs.

Behind each odd request comes another one, in the same segment. Where the first is open to two
readings the connection ends with its refusal, and the second is never looked at.
"""

from __future__ import annotations

import re
import select
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from canaries import canaries
from daemon import PATIENCE, Daemon
from visitors import Org, problem

pytestmark = pytest.mark.whole

#: The one that comes behind; if it is looked at, it is answered 405, and the connection ends.
HIDDEN = b"DELETE /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
GET = b"GET /health HTTP/1.1\r\n"
HOST = b"Host: x\r\n"
POST = b"POST /webhook HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
BODY = b'{"a":'  # five bytes, and no JSON

REFUSED = {
    # which of two lengths?
    "a length, and chunks": POST
    + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    "chunks, and a length": POST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\n" + BODY,
    "two lengths, far apart": POST
    + b"Content-Length: 5\r\nX: y\r\ncontent-length: 6\r\n\r\n"
    + BODY,
    "a list of lengths": POST + b"Content-Length: 5, 6\r\n\r\n" + BODY,
    "two numbers": POST + b"Content-Length: 5 5\r\n\r\n" + BODY,
    "no number": POST + b"Content-Length:\r\n\r\n" + BODY,
    "a word": POST + b"Content-Length: five\r\n\r\n" + BODY,
    "a fraction": POST + b"Content-Length: 5.0\r\n\r\n" + BODY,
    "a power of ten": POST + b"Content-Length: 5e0\r\n\r\n" + BODY,
    "an underscore": POST + b"Content-Length: 0_5\r\n\r\n" + BODY,
    "a binary number": POST + b"Content-Length: 0b101\r\n\r\n" + BODY,
    "a semicolon": POST + b"Content-Length: 5;\r\n\r\n" + BODY,
    "digits of another script": POST + "Content-Length: ٥\r\n\r\n".encode() + BODY,
    "a form feed": POST + b"Content-Length: 5\x0c\r\n\r\n" + BODY,
    # which coding?
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked and then identity": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a coding nobody knows, and chunked": POST
    + b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked in two headers": POST
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked with a parameter": POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "chunked in quotes": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "the coding identity": POST
    + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n"
    + BODY,
    "chunked and identity in two headers": POST
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "no coding": POST + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a tab before the colon": POST + b"Content-Length\t: 5\r\n\r\n" + BODY,
    "a folded coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a folded length": POST + b"Content-Length: 5\r\n\t\r\n\r\n" + BODY,
    # which chunk?
    "a chunk of 0x5": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk of +5": CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
    "a chunk of 5 and a space": CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n",
    "a chunk of 1_0": CHUNKED + b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "a chunk of nothing": CHUNKED + b"\r\nhello\r\n0\r\n\r\n",
    "a chunk ended by a line feed": CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    "a chunk that is too short": CHUNKED + b"6\r\nhello\r\n0\r\n\r\n",
    "a size without end": CHUNKED + b"f" * 5000 + b"\r\n",
    # which line?
    "line feeds alone": b"GET /health HTTP/1.1\nHost: x\n\n",
    "a line feed in a header": GET + b"Host: x\nX: y\r\n\r\n",
    "a carriage return in a header": GET + b"Host: x\rX: y\r\n\r\n",
    "a header without a name": GET + HOST + b": y\r\n\r\n",
    "a header without a colon": GET + HOST + b"nothing\r\n\r\n",
    "a name in another script": GET + HOST + "Hôst: y\r\n\r\n".encode(),
    "NUL in a name": GET + HOST + b"X\0: y\r\n\r\n",
    "a second, empty Host": GET + HOST + b"Host:\r\n\r\n",
    "a folded Host": GET + b"Host: x\r\n y\r\n\r\n",
    "three words and one more": b"GET /health HTTP/1.1 HTTP/1.0\r\n" + HOST + b"\r\n",
    "a trailer that frames": CHUNKED + b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n",
    "no version": b"GET /health\r\n" + HOST + b"\r\n",
    "a version of its own": b"GET /health HTTP/1.9\r\n" + HOST + b"\r\n",
    "a version in small letters": b"GET /health http/1.1\r\n" + HOST + b"\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "NUL in the path": b"GET /hea\0lth HTTP/1.1\r\n" + HOST + b"\r\n",
    "a tab in the request line": b"GET\t/health HTTP/1.1\r\n" + HOST + b"\r\n",
    "chunks in HTTP/1.0": b"POST /webhook HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


#: What has one reading only, and what it is answered; then the one behind it gets its 405.
UNDERSTOOD = {
    "a request as the body of a GET": (
        GET + HOST + b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
        200,
    ),
    "a request in a chunk of a GET": (
        GET + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN),
        200,
    ),
    "a request as the body of a TRACE": (
        b"TRACE /health HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
        405,
    ),
    "a request as the body of a CONNECT": (
        b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
        404,
    ),
    "another host's URL": (b"GET http://evil.example/health HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    "a length with leading zeros": (POST + b"Content-Length: 0005\r\n\r\n" + BODY, 400),
    "a coding in capitals": (POST + b"Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", 400),
    "a tab before a value": (POST + b"Content-Length:\t5\r\n\r\n" + BODY, 400),
    "an extension of a chunk": (CHUNKED + b"5;a=b\r\nhello\r\n0\r\n\r\n", 400),
    "a chunk's size in capitals": (CHUNKED + b"00A\r\n0123456789\r\n0\r\n\r\n", 400),
    "a trailer": (CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 9\r\n\r\n", 400),
    "an upgrade to HTTP/2": (
        GET + HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        200,
    ),
    "a header that looks like a coding": (GET + HOST + b"Transfer_Encoding: chunked\r\n\r\n", 200),
    "an empty line before": (b"\r\n" + GET + HOST + b"\r\n", 200),
    "no request at all, but options": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 204),
}
#: What ends a connection, though it has one reading.
LAST = {
    "a client that wants no more": (GET + HOST + b"Connection: close\r\n\r\n", 200),
    "HTTP/1.0": (b"GET /health HTTP/1.0\r\n\r\n", 200),
    "a body that is announced too large": (POST + b"Content-Length: 1073741824\r\n\r\n", 413),
    "a number of 400 digits": (POST + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n", 400),
    "a chunk that is announced too large": (
        CHUNKED + b"3fffffff\r\n" + b" " * ((1 << 20) + 1),
        413,
    ),
    "600 headers": (GET + HOST + b"X: y\r\n" * 600 + b"\r\n", 431),
    "a header of 20 KB": (GET + HOST + b"X: " + b"y" * 20_000 + b"\r\n\r\n", 431),
    "a path of 30 KB": (b"GET /" + b"y" * 30_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
}


def statuses(gateway: Daemon, raw: bytes) -> list[int]:
    """The status of each answer to these very bytes, until the gateway ends the connection."""
    heard = b""
    with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE) as line:
        line.sendall(raw)
        while chunk := line.recv(65536):
            heard += chunk
    return [int(found) for found in re.findall(rb"HTTP/1\.[01] (\d{3}) [A-Z]", heard)]


@pytest.mark.parametrize("name", REFUSED)
def test_what_two_parsers_read_differently_ends_the_connection(gateway: Daemon, name: str) -> None:
    assert statuses(gateway, REFUSED[name] + HIDDEN) == [400]


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_what_has_one_reading_hides_no_request(gateway: Daemon, name: str) -> None:
    raw, status = UNDERSTOOD[name]
    assert statuses(gateway, raw + HIDDEN) == [status, 405]


@pytest.mark.parametrize("name", LAST)
def test_behind_what_ends_a_connection_nothing_is_served(gateway: Daemon, name: str) -> None:
    raw, status = LAST[name]
    assert statuses(gateway, raw + HIDDEN) == [status]


# -- bombs --


@pytest.fixture
def lean(gateway: Daemon) -> Iterator[None]:
    """Whatever the test does, the gateway is afterwards no more than 32 MiB larger."""
    before = memory(gateway)
    yield
    assert memory(gateway) - before < 32 << 20


def memory(gateway: Daemon) -> int:
    """What the gateway's process held at most since the last look, in bytes."""
    process = Path(f"/proc/{gateway.process.pid}")
    (most,) = re.findall(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())
    (process / "clear_refs").write_text("5")
    return int(most) << 10


DEEP = 100_000
LONG = "9" * 5000
BOMBS = {
    "deep lists": "[" * DEEP,
    "deep objects": '{"a":' * DEEP,
    "deep lists that end": '{"messages":' + "[" * DEEP + "]" * DEEP + "}",
    "deep where nobody looks": '{"messages":[],"x":' + "[" * DEEP + "]" * DEEP + "}",
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("path", ["/webhook", "/send/{}"])
def test_json_of_a_hundred_thousand_levels_is_400(
    org: Org, lean: None, name: str, path: str
) -> None:
    answer = org.agent.post(path.format(org.id), data=BOMBS[name], headers={"X-Org-Id": org.id})
    problem(answer, 400)


def test_numbers_of_5000_digits_are_out_of_range_and_no_more(org: Org, lean: None) -> None:
    number, text = canaries.number(), canaries.text()
    sms = f'{{"address":"{number}","body":"{text}","date":{LONG},"sim_slot":{LONG},"id":{LONG}}}'
    body = f'{{"org_id":"{org.id}","messages":[{sms}]}}'
    assert org.agent.post("/webhook", data=body).json()["stored"] == 1
    (row,) = org.read()
    assert (row["body"], row["device_ts"], row["sim_slot"]) == (text, None, None)
    ticket = f'{{"to":"{number}","body":"{text}","sim":{LONG}}}'
    problem(org.agent.post(f"/send/{org.id}", data=ticket), 422)
    for asked in ("limit", "since_id", "before_id"):
        problem(org.agent.get(f"/messages/{org.id}", params={asked: LONG}), 422)


def test_a_phone_may_throw_bombs_and_stay(org: Org, lean: None) -> None:
    with org.phone() as phone:
        for bomb in (*BOMBS.values(), f'{{"type":"send_result","id":{LONG},"success":true}}'):
            phone.socket.send(bomb)
            assert phone.hear()["type"] == "error"
        sms = f'{{"address":"x","body":"y","date":{LONG},"sim_slot":{LONG}}}'
        phone.socket.send(f'{{"type":"inbound","message":{sms}}}')
        assert phone.hear() == {"type": "inbound_ack", "stored": 1}


def test_a_body_without_end_is_413_after_the_first_mebibyte(gateway: Daemon, lean: None) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE) as line:
        line.sendall(CHUNKED)
        sent = 0
        with suppress(ConnectionError):
            while sent < 1 << 30 and not select.select([line], [], [], 0)[0]:
                line.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                sent += 0x10000
        assert line.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert sent < 1 << 26


def test_pages_asked_for_a_hundred_times_in_one_go_and_not_read(org: Org, lean: None) -> None:
    for _ in range(2):
        org.store(*(org.sms(canaries.text() + "x" * 60_000) for _ in range(14)))
    ask = f"GET /messages/{org.id} HTTP/1.1\r\nHost: x\r\nX-Secret-Key: {org.secret}\r\n\r\n"
    host, port = urlsplit(org.url).hostname, urlsplit(org.url).port
    with socket.create_connection((host, port), PATIENCE) as line:
        line.sendall(ask.encode() * 100)
        assert line.recv(15) == b"HTTP/1.1 200 OK"
        for _ in range(40):  # long enough for all of them, if they are looked at at all
            assert len(org.read()) == 28
