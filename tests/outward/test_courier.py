"""One post to an endpoint that behaves, over real sockets."""

from __future__ import annotations

import json
from ipaddress import ip_network

import pytest
import pytest_twisted
from receivers import LOOPBACK, OK, Listen, Names, Receiver, courier
from standardwebhooks import Webhook
from twisted.internet.task import Clock
from twisted.web.http_headers import Headers

from smsd import __version__
from smsd.outward.answer import retry_after
from smsd.outward.courier import Courier
from smsd.outward.signature import new_secret

SECRETS = [new_secret(lambda count: b"a" * count), new_secret(lambda count: b"b" * count)]
BODY = json.dumps({"type": "message.received", "data": {"body": "Grüße"}}).encode()


async def delivered(by: Courier, url: str) -> object:
    return await by.deliver(url, "evt_7", BODY, SECRETS)


@pytest_twisted.ensureDeferred
async def test_an_event_arrives_signed_as_both_secrets_verify(listen: Listen) -> None:
    receiver = Receiver()
    port = await listen(receiver)
    attempt = await courier().deliver(f"http://127.0.0.1:{port}/a?b=c", "evt_7", BODY, SECRETS)
    assert (attempt.status, attempt.error, attempt.answer) == (200, None, "ok")
    assert attempt.taken
    assert receiver.requests[0].startswith(b"POST /a?b=c HTTP/1.1\r\n")
    for secret in SECRETS:
        event = Webhook(secret).verify(receiver.bodies[0], receiver.heads[0])
        assert event == json.loads(BODY)


@pytest_twisted.ensureDeferred
async def test_a_post_says_what_it_is_and_nothing_else(listen: Listen) -> None:
    receiver = Receiver()
    port = await listen(receiver)
    await delivered(courier(), f"http://127.0.0.1:{port}/")
    (head,) = receiver.heads
    assert sorted(head) == [
        "connection",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
    ]
    assert head["content-type"] == "application/json"
    assert head["user-agent"] == f"smsd/{__version__}"
    assert head["host"] == f"127.0.0.1:{port}"


@pytest_twisted.ensureDeferred
async def test_a_name_is_looked_up_once_and_stays_the_host(listen: Listen) -> None:
    names, receiver = Names({"app.example.com": [["127.0.0.1"]]}), Receiver()
    port = await listen(receiver)
    attempt = await courier(names).deliver(
        f"http://app.example.com:{port}/", "evt_7", BODY, SECRETS
    )
    assert attempt.taken
    assert names.asked == ["app.example.com"]
    assert receiver.heads[0]["host"] == f"app.example.com:{port}"


@pytest_twisted.ensureDeferred
async def test_the_reactor_s_own_resolver_is_asked(listen: Listen) -> None:
    receiver = Receiver()
    port = await listen(receiver)
    inside = (*LOOPBACK, ip_network("::1/128"))
    attempt = await courier(allow=inside).deliver(
        f"http://localhost:{port}/", "evt_7", BODY, SECRETS
    )
    assert attempt.taken
    assert receiver.heads[0]["host"] == f"localhost:{port}"


@pytest_twisted.ensureDeferred
async def test_an_ipv6_address_is_called_too(listen: Listen) -> None:
    receiver = Receiver()
    port = await listen(receiver, "tcp6:0:interface=\\:\\:1")
    inside = (ip_network("::1/128"),)
    attempt = await courier(allow=inside).deliver(f"http://[::1]:{port}/", "evt_7", BODY, SECRETS)
    assert attempt.taken
    assert receiver.heads[0]["host"] == f"[::1]:{port}"


@pytest.mark.parametrize(
    "path",
    ["/", "/a//../b/.", "/%7e%2F%2f%zz", "/a?b=c&&d=%20+&e", "/[:@!$&'()*+,;=~-]?[]/?"],
)
@pytest_twisted.ensureDeferred
async def test_a_path_is_called_as_it_was_given(listen: Listen, path: str) -> None:
    receiver = Receiver()
    port = await listen(receiver)
    await delivered(courier(), f"http://127.0.0.1:{port}{path}")
    assert receiver.requests[0].startswith(f"POST {path} HTTP/1.1\r\n".encode())


@pytest_twisted.ensureDeferred
async def test_a_redirect_is_an_answer_and_is_not_followed(listen: Listen) -> None:
    there = Receiver()
    elsewhere = await listen(there)
    redirect = f"HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:{elsewhere}/\r\n"
    here = Receiver(answer=redirect.encode() + b"content-length: 0\r\n\r\n")
    port = await listen(here)
    attempt = await courier().deliver(f"http://127.0.0.1:{port}/", "evt_7", BODY, SECRETS)
    assert (attempt.status, attempt.taken) == (307, False)
    assert there.opened == 0


@pytest_twisted.ensureDeferred
async def test_a_cookie_does_not_come_back(listen: Listen) -> None:
    receiver = Receiver(answer=OK.replace(b"\r\n", b"\r\nset-cookie: a=b\r\n", 1))
    port = await listen(receiver)
    post = courier()
    for _ in range(2):
        await delivered(post, f"http://127.0.0.1:{port}/")
    assert [head.get("cookie") for head in receiver.heads] == [None, None]


@pytest_twisted.ensureDeferred
async def test_a_proxy_of_the_environment_is_not_asked(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, receiver = Receiver(), Receiver()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{await listen(proxy)}")
    port = await listen(receiver)
    await delivered(courier(), f"http://127.0.0.1:{port}/")
    assert (proxy.opened, receiver.opened) == (0, 1)


@pytest_twisted.ensureDeferred
async def test_of_an_answer_its_first_kib_is_kept_as_text(listen: Listen) -> None:
    body = b"\x00\xff" + b"x" * 5000
    receiver = Receiver(answer=b"HTTP/1.1 500 No\r\ncontent-length: 5002\r\n\r\n" + body)
    port = await listen(receiver)
    attempt = await courier().deliver(f"http://127.0.0.1:{port}/", "evt_7", BODY, SECRETS)
    assert attempt.answer == "\ufffd\ufffd" + "x" * 1022


@pytest_twisted.ensureDeferred
async def test_an_endpoint_says_when_to_come_back(listen: Listen) -> None:
    receiver = Receiver(
        answer=b"HTTP/1.1 503 Later\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n"
    )
    port = await listen(receiver)
    attempt = await courier().deliver(f"http://127.0.0.1:{port}/", "evt_7", BODY, SECRETS)
    assert (attempt.status, attempt.retry_after) == (503, 120)


@pytest_twisted.ensureDeferred
async def test_the_time_of_day_is_not_the_reactor_s_which_counts_from_its_own_beginning(
    listen: Listen, clock: Clock
) -> None:
    receiver = Receiver(
        answer=b"HTTP/1.1 503 Later\r\nretry-after: Tue, 14 Nov 2023 22:13:50 GMT\r\n"
        b"connection: close\r\ncontent-length: 0\r\n\r\n",
        hang_up=True,
    )
    port = await listen(receiver)
    by = courier(Names({}, clock), time_of_day=lambda: 1_700_000_000.9)
    attempt = await by.deliver(f"http://127.0.0.1:{port}/", "evt_7", BODY, SECRETS)
    assert receiver.heads[0]["webhook-timestamp"] == "1700000000"
    assert (round(attempt.retry_after or 0, 1), attempt.ms) == (29.1, 0)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7),
        (" 0 ", 0),
        ("999999", 86_400),
        ("9" * 5000, None),
        ("-7", None),
        ("7.5", None),
        ("soon", None),
        ("", None),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
        ("Thu, 99 Jan 1970 00:02:00 GMT", None),
    ],
    ids=lambda said: str(said)[:30],
)
def test_retry_after_is_read_and_bounded(said: str, seconds: float | None) -> None:
    assert retry_after(Headers({"retry-after": [said]}), 100.0) == seconds
