"""Endpoints that do not behave: each attempt ends, says how, holds nothing, and leaves no trace in
the log (which every test here checks by itself)."""

from __future__ import annotations

import gzip

import pytest
import pytest_twisted
from receivers import OK, Listen, Names, Receiver, courier
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from smsd.outward.attempt import Attempt
from smsd.outward.courier import LONGEST
from smsd.outward.line import MOST_READ
from smsd.outward.signature import new_secret

SECRETS = [new_secret(lambda count: b"a" * count)]
HEAD = b"HTTP/1.1 200 OK\r\n"
ENDLESS = 16 * MOST_READ


async def attempt_at(port: int, by: Names | None = None) -> Attempt:
    post = courier(by) if by else courier()
    return await post.deliver(f"http://127.0.0.1:{port}/", "evt_7", b"{}", SECRETS)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0\xff" * 100,
        b"hello\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/9.9 " + b"2" * 100_000,
        HEAD,
        HEAD + b"x: y\r\n" * (ENDLESS // 6),
        HEAD + b"x: " + b"y" * ENDLESS,
        HEAD + b"x" * ENDLESS,
        HEAD + b"content-length: -1\r\n\r\nx",
        HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        HEAD + b"content-length: x\r\n\r\nx",
        HEAD + b"transfer-encoding: who knows\r\n\r\nx",
        b"HTTP/1.1 100 Continue\r\n\r\n" * (ENDLESS // 25),
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: tls\r\n\r\n",
    ],
    ids=[
        "nothing",
        "bytes",
        "text",
        "no-status",
        "odd-status",
        "long-status",
        "half-a-head",
        "headers-without-end",
        "a-header-without-end",
        "a-line-without-end",
        "negative-length",
        "two-lengths",
        "odd-length",
        "odd-coding",
        "continue-without-end",
        "switching",
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_answer_is_a_bad_answer(listen: Listen, answer: bytes) -> None:
    receiver = Receiver(answer=answer, hang_up=True)
    attempt = await attempt_at(await listen(receiver))
    assert (attempt.status, attempt.error) == (None, "bad_answer")
    assert not attempt.taken
    await receiver.until(lambda: not receiver.open)


@pytest.mark.parametrize(
    ("rest", "kept"),
    [
        (b"\r\n" + b"x" * ENDLESS, "x" * 1024),
        (b"content-length: 100\r\n\r\nless", "less"),
        (b"transfer-encoding: chunked\r\n\r\nzz\r\n", ""),
        (b"transfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * (ENDLESS // 6), "x" * 1024),
        (b"set-cookie: " + b"\xff;=" * 50 + b"\r\n\r\n", ""),
        (b"content-length: 2\r\n\r\nokand more", "ok"),
    ],
    ids=["without-end", "less", "bad-chunk", "chunks-without-end", "odd-cookie", "more"],
)
@pytest_twisted.ensureDeferred
async def test_a_status_counts_however_the_rest_ends(
    listen: Listen, rest: bytes, kept: str
) -> None:
    receiver = Receiver(answer=HEAD + rest, hang_up=True)
    attempt = await attempt_at(await listen(receiver))
    assert (attempt.status, attempt.error, attempt.answer) == (200, None, kept)
    await receiver.until(lambda: not receiver.open)


@pytest_twisted.ensureDeferred
async def test_nothing_is_inflated(listen: Listen) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    receiver = Receiver(answer=HEAD + b"content-encoding: gzip\r\n\r\n" + bomb, hang_up=True)
    attempt = await attempt_at(await listen(receiver))
    assert attempt.status == 200
    assert attempt.answer.startswith("\x1f")
    assert "accept-encoding" not in receiver.heads[0]


@pytest_twisted.ensureDeferred
async def test_an_answer_to_no_question_is_none(listen: Listen) -> None:
    receiver = Receiver(greeting=OK, sulks=True)
    attempt = await attempt_at(await listen(receiver))
    assert attempt.taken or attempt.error == "bad_answer"


@pytest_twisted.ensureDeferred
async def test_a_port_where_nobody_listens_is_unreachable(listen: Listen) -> None:
    taken = Receiver()
    port = await listen(taken, "tcp:0:interface=127.0.0.2")
    attempt = await attempt_at(port)
    assert (attempt.status, attempt.error, taken.opened) == (None, "unreachable", 0)


@pytest_twisted.ensureDeferred
async def test_of_several_addresses_one_that_accepts_is_enough(listen: Listen) -> None:
    receiver = Receiver()
    port = await listen(receiver)
    names = Names({"app.example.com": [["127.0.0.3", "127.0.0.1"]]})
    attempt = await courier(names).deliver(
        f"http://app.example.com:{port}/", "evt_7", b"{}", SECRETS
    )
    assert attempt.taken


@pytest.mark.parametrize(
    ("scheme", "answer", "status"),
    [
        ("http", b"", None),
        ("http", HEAD, None),
        ("http", HEAD + b"\r\nslow", 200),
        ("https", b"", None),
    ],
    ids=["silent", "half-a-head", "half-a-body", "no-handshake"],
)
@pytest_twisted.ensureDeferred
async def test_an_attempt_ends_after_its_time_whatever_is_open(
    listen: Listen, clock: Clock, scheme: str, answer: bytes, status: int | None
) -> None:
    receiver, names = Receiver(answer=answer), Names({}, clock)
    url = f"{scheme}://127.0.0.1:{await listen(receiver)}/"
    going = Deferred.fromCoroutine(courier(names).deliver(url, "evt_7", b"{}", SECRETS))
    await receiver.until(lambda: bool(receiver.requests or (scheme == "https" and receiver.opened)))
    await names.until(lambda: names.heard == len(answer))
    clock.advance(LONGEST - 0.01)
    assert not going.called
    clock.advance(0.01)
    attempt = await going
    assert (attempt.status, attempt.error) == (status, None if status else "time_out")
    assert attempt.ms == 1000 * LONGEST
    await receiver.until(lambda: not receiver.open)


@pytest_twisted.ensureDeferred
async def test_a_look_up_without_an_end_is_given_up(clock: Clock) -> None:
    class Silent(Names):
        def resolveHostName(self, receiver: object, hostName: str, *args: object) -> None:
            self.receiver = receiver

    names = Silent({}, clock)
    going = Deferred.fromCoroutine(
        courier(names).deliver("https://app.example.com/", "evt_7", b"{}", SECRETS)
    )
    clock.advance(LONGEST)
    assert (await going).error == "time_out"
    names.receiver.resolutionComplete()


@pytest_twisted.ensureDeferred
async def test_a_cancelled_attempt_says_so_and_lets_go(listen: Listen) -> None:
    receiver = Receiver(answer=None)
    going = Deferred.fromCoroutine(attempt_at(await listen(receiver)))
    await receiver.until(lambda: bool(receiver.requests))
    going.cancel()
    with pytest.raises(CancelledError):
        await going
    await receiver.until(lambda: not receiver.open)


@pytest.mark.parametrize(
    ("answer", "status"),
    [(HEAD + b"\r\n" + b"x" * ENDLESS, 200), (HEAD + b"x: y\r\n" * (ENDLESS // 6), None)],
    ids=["body", "head"],
)
@pytest_twisted.ensureDeferred
async def test_no_more_is_read_than_64_kib_though_there_is_time(
    listen: Listen, clock: Clock, answer: bytes, status: int | None
) -> None:
    receiver, names = Receiver(answer=answer), Names({}, clock)
    attempt = await attempt_at(await listen(receiver), names)
    assert attempt.status == status
    assert names.heard < 4 * MOST_READ
    await receiver.until(lambda: not receiver.open)
