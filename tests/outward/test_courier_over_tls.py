"""Posting by https: to the address that was judged, with the certificate of the name."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import pytest_twisted
from authority import Authority
from receivers import Listen, Names, Receiver, courier
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from smsd.outward.attempt import Attempt
from smsd.outward.courier import GOODBYE, Courier
from smsd.outward.signature import new_secret

# Twisted's side that listens still hands pyOpenSSL objects on; ours that calls does not.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

SECRETS = [new_secret(lambda count: b"a" * count)]
NAME = "app.example.com"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def caller(authority: Authority) -> Courier:
    return courier(Names({NAME: [["127.0.0.1"]]}), trust=authority.trust)


async def attempt_at(by: Courier, port: int, host: str = NAME) -> Attempt:
    return await by.deliver(f"https://{host}:{port}/", "evt_7", b"{}", SECRETS)


@pytest_twisted.ensureDeferred
async def test_the_name_is_checked_and_the_address_called(
    listen: Listen, authority: Authority
) -> None:
    receiver = Receiver()
    port = await listen(receiver, authority.endpoint(NAME))
    assert (await attempt_at(caller(authority), port)).status == 200
    assert receiver.heads[0]["host"] == f"{NAME}:{port}"
    assert receiver.served == [NAME.encode()]


@pytest_twisted.ensureDeferred
async def test_a_certificate_of_another_name_is_refused(
    listen: Listen, authority: Authority
) -> None:
    receiver = Receiver()
    port = await listen(receiver, authority.endpoint("other.example.com"))
    attempt = await attempt_at(caller(authority), port)
    assert (attempt.error, receiver.requests) == ("tls_failed", [])


@pytest_twisted.ensureDeferred
async def test_the_name_s_certificate_is_none_for_its_address(
    listen: Listen, authority: Authority
) -> None:
    receiver = Receiver()
    port = await listen(receiver, authority.endpoint(NAME))
    attempt = await attempt_at(caller(authority), port, "127.0.0.1")
    assert (attempt.error, receiver.requests) == ("tls_failed", [])


@pytest_twisted.ensureDeferred
async def test_a_certificate_of_yesterday_is_refused(listen: Listen, authority: Authority) -> None:
    receiver = Receiver()
    port = await listen(receiver, authority.endpoint(NAME, until=timedelta(days=-1)))
    attempt = await attempt_at(caller(authority), port)
    assert (attempt.error, receiver.requests) == ("tls_failed", [])


@pytest_twisted.ensureDeferred
async def test_an_authority_that_nobody_knows_is_refused(
    listen: Listen, authority: Authority
) -> None:
    receiver = Receiver()
    port = await listen(receiver, authority.endpoint(NAME))
    by = courier(Names({NAME: [["127.0.0.1"]]}))
    assert ((await attempt_at(by, port)).error, receiver.requests) == ("tls_failed", [])


@pytest_twisted.ensureDeferred
async def test_an_authority_of_one_s_own_is_named_in_the_environment(
    listen: Listen, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    port = await listen(Receiver(), authority.endpoint(NAME))
    assert (await attempt_at(courier(Names({NAME: [["127.0.0.1"]]})), port)).taken


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad\r\n\r\n", b"\x16\x03\x01\xff\xff" * 9])
@pytest_twisted.ensureDeferred
async def test_what_speaks_no_tls_has_failed_at_it(
    listen: Listen, authority: Authority, greeting: bytes
) -> None:
    receiver = Receiver(greeting=greeting)
    attempt = await attempt_at(caller(authority), await listen(receiver))
    assert (attempt.error, receiver.requests) == ("tls_failed", [])


@pytest_twisted.ensureDeferred
async def test_who_never_says_goodbye_is_hung_up_on(
    listen: Listen, authority: Authority, clock: Clock
) -> None:
    receiver = Receiver(deaf=True)
    port = await listen(receiver, authority.endpoint(NAME))
    names = Names({NAME: [["127.0.0.1"]]}, clock)
    by = courier(names, trust=authority.trust)
    going = Deferred.fromCoroutine(attempt_at(by, port))
    await receiver.until(lambda: bool(receiver.requests))
    await names.until(lambda: len(clock.getDelayedCalls()) == 2)
    clock.advance(GOODBYE)
    attempt = await going
    assert (attempt.status, attempt.ms) == (200, 0)
    (one,) = receiver.open
    one.transport.resumeProducing()
    await receiver.until(lambda: not receiver.open)


@pytest_twisted.ensureDeferred
async def test_an_answer_that_was_read_outlives_a_cancel(
    listen: Listen, authority: Authority, clock: Clock
) -> None:
    receiver, names = Receiver(deaf=True), Names({NAME: [["127.0.0.1"]]}, clock)
    port = await listen(receiver, authority.endpoint(NAME))
    going = Deferred.fromCoroutine(attempt_at(courier(names, trust=authority.trust), port))
    await names.until(lambda: len(clock.getDelayedCalls()) == 2 and bool(receiver.requests))
    going.cancel()
    assert (await going).taken
    (one,) = receiver.open
    one.transport.resumeProducing()
