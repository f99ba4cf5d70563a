"""The doorman before the upgrade, and the hand-over of the connection behind it."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol

from smsd.gateway.doorman import Caller, Newcomer
from smsd.rest.api import Api
from smsd.rest.channel import IDLE_FOR
from smsd.rest.site import Site

if TYPE_CHECKING:
    from twisted.internet.task import Clock

    from tests.rest.conftest import Browser, Notes, Wire

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec_WebSocket_Key": KEY,
    "Sec_WebSocket_Version": "13",
}
GOOD = "/websocket?org_id=myorg&secret_key=my-secret-key-123"


class Phone(Protocol):
    """What the phone face would give the connection to: it notes what it is fed."""

    def __init__(self) -> None:
        self.heard = b""
        self.lost = False

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"101")

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = True


def handshake(**changed: str | None) -> dict[str, str]:
    fields = {**HANDSHAKE, **changed}
    return {name: value for name, value in fields.items() if value is not None}


# ---- who may come in ----


def test_a_phone_with_the_right_secret_is_admitted(wire: Wire, notes: Notes) -> None:
    wire.ask("GET", GOOD, **HANDSHAKE)
    ((_, who, device_id, ledger),) = notes.upgraded
    assert (who, device_id, ledger) == (Caller("myorg"), None, False)
    assert wire.answers() == []


def test_a_phone_may_say_who_it_is_in_headers(wire: Wire, notes: Notes) -> None:
    wire.ask("GET", "/websocket", X_Org_Id="myorg", X_Secret_Key="my-secret-key-123", **HANDSHAKE)
    assert notes.upgraded[0][1] == Caller("myorg")


def test_a_phone_that_says_nothing_is_let_in_to_say_it_in_a_frame(wire: Wire, notes: Notes) -> None:
    wire.ask("GET", "/websocket?device_id=d1&ledger=TRUE", **HANDSHAKE)
    assert notes.upgraded[0][1:] == (None, "d1", True)
    assert notes.attempts == []


def test_a_phone_of_an_unknown_org_is_a_newcomer(wire: Wire, notes: Notes) -> None:
    path = "/websocket?org_id=fresh&secret_key=a%20fresh%2Bsecret%2F1&claim_token=tok"
    wire.ask("GET", path, **HANDSHAKE)
    ((credentials, address, claim, token),) = notes.attempts
    assert (credentials.secret, address, claim, token) == (
        "a fresh+secret/1",
        "203.0.113.7",
        True,
        "tok",
    )
    assert isinstance(notes.upgraded[0][1], Newcomer)


@pytest.mark.parametrize(
    "path",
    [
        "/websocket?org_id=myorg&secret_key=wrong-secret-key",
        "/websocket?org_id=myorg",
        "/websocket?secret_key=my-secret-key-123",
    ],
)
def test_a_refusal_is_an_ordinary_answer(browser: Browser, notes: Notes, path: str) -> None:
    answer = browser.ask("GET", path, **HANDSHAKE)
    assert answer.status == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert notes.upgraded == []


@pytest.mark.parametrize("name", ["a" * 65, "", "a%00b", "%ff"])
def test_a_device_id_of_the_wrong_shape_is_refused(
    browser: Browser, notes: Notes, name: str
) -> None:
    answer = browser.ask("GET", f"{GOOD}&device_id={name}", **HANDSHAKE)
    assert answer.status == 422
    assert answer.json()["errors"][0]["loc"] == ["device_id"]
    assert notes.upgraded == []


def test_two_different_secrets_are_a_contradiction(browser: Browser) -> None:
    assert browser.ask("GET", GOOD, X_Secret_Key="another-secret", **HANDSHAKE).status == 400


@pytest.mark.parametrize("more", ["&org_id=other", "&secret_key=another-secret"])
def test_two_different_values_in_one_url_are_a_contradiction(
    browser: Browser, notes: Notes, more: str
) -> None:
    assert browser.ask("GET", GOOD + more, **HANDSHAKE).status == 400
    assert notes.attempts == []


def test_the_same_value_twice_in_one_url_is_none(wire: Wire, notes: Notes) -> None:
    wire.ask("GET", GOOD + "&org_id=myorg", **HANDSHAKE)
    assert len(notes.upgraded) == 1


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Upgrade": None}, 426),
        ({"Upgrade": "h2c"}, 426),
        ({"Sec_WebSocket_Version": "8"}, 426),
        ({"Sec_WebSocket_Version": None}, 426),
        ({"Connection": "keep-alive"}, 400),
        ({"Sec_WebSocket_Key": None}, 400),
        ({"Sec_WebSocket_Key": "short"}, 400),
        ({"Sec_WebSocket_Key": "ÿÿÿÿ"}, 400),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
    ],
)
def test_a_handshake_that_is_none_is_refused_before_the_doorman_is_asked(
    browser: Browser, notes: Notes, changed: dict[str, str | None], status: int
) -> None:
    answer = browser.ask("GET", GOOD, **handshake(**changed))
    assert answer.status == status
    assert notes.attempts == []
    if status == 426:
        assert answer.headers["upgrade"] == "websocket"
        assert answer.headers["sec-websocket-version"] == "13"


def test_a_page_of_our_own_and_a_page_that_is_allowed_may_connect(
    notes: Notes, clock: Clock, browser: Browser
) -> None:
    browser.site = Site(Api(notes.services(), origins=["https://app.example"]), clock)
    for origin in ("http://sms.example", "https://app.example", "HTTPS://APP.example"):
        browser.wire().ask("GET", GOOD, Origin=origin, **HANDSHAKE)
    assert len(notes.upgraded) == 3


def test_any_origin_for_rest_is_not_any_origin_for_websockets(
    notes: Notes, clock: Clock, browser: Browser
) -> None:
    browser.site = Site(Api(notes.services(), origins=["*"]), clock)
    assert browser.ask("GET", GOOD, Origin="https://evil.example", **HANDSHAKE).status == 403


# ---- the hand-over ----


def test_the_protocol_is_fed_a_head_without_secrets(wire: Wire, notes: Notes) -> None:
    wire.ask("GET", GOOD, X_Secret_Key="my-secret-key-123", X_Request_Id="mine", **HANDSHAKE)
    phone = Phone()
    notes.upgraded[0][0].hand_over(phone)
    assert phone.heard == (
        b"GET /websocket HTTP/1.1\r\nHost: sms.example\r\nUpgrade: websocket\r\n"
        b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: " + KEY.encode() + b"\r\n"
        b"Sec-WebSocket-Version: 13\r\nX-Request-Id: mine\r\n\r\n"
    )
    assert wire.socket.value() == b"101"


@pytest.fixture
def phone(notes: Notes) -> Phone:
    """The upgrade hands every request over to this one at once."""
    phone = Phone()
    original = notes.upgrade

    def upgrade(request: Any, who: Any, **options: Any) -> None:
        original(request, who, **options)
        request.hand_over(phone, b"HEAD")

    notes.upgrade = upgrade  # type: ignore[method-assign]
    return phone


def test_bytes_behind_the_handshake_are_not_lost(phone: Phone, browser: Browser) -> None:
    wire = browser.wire()
    raw = _raw(browser)
    wire.send(raw[:-1], raw[-1:] + b"frame1\r\n\r\nframe2", b"frame3")
    assert phone.heard == b"HEADframe1\r\n\r\nframe2frame3"


def test_bytes_that_come_while_the_doorman_thinks_are_not_lost(
    notes: Notes, phone: Phone, browser: Browser
) -> None:
    thinking: Deferred[None] = Deferred()
    notes.before = lambda: thinking
    wire = browser.wire()
    wire.send(_raw(browser) + b"a", b"b\r\n", b"c" * 20_000)
    assert wire.socket.producerState == "paused"
    thinking.callback(None)
    wire.send(b"d")
    assert phone.heard == b"HEADab\r\n" + b"c" * 20_000 + b"d"
    assert wire.socket.producerState == "producing"


def test_a_request_before_the_handshake_is_answered_first(phone: Phone, browser: Browser) -> None:
    wire = browser.wire()
    wire.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" + _raw(browser) + b"frame")
    assert wire.socket.value().endswith(b'{"status":"ok"}101')
    assert phone.heard == b"HEADframe"


def test_the_http_objects_are_let_go_and_not_left_to_the_garbage_collector(
    notes: Notes, phone: Phone, browser: Browser, clock: Clock, request: pytest.FixtureRequest
) -> None:
    gc.disable()
    request.addfinalizer(gc.enable)
    wire = browser.wire()
    wire.send(_raw(browser))
    held = [weakref.ref(wire.channel), weakref.ref(notes.upgraded[0][0])]
    del wire.channel
    notes.upgraded.clear()
    assert [one() for one in held] == [None, None]
    assert wire.socket.producer is None
    assert clock.getDelayedCalls() == []


def test_a_session_outlives_every_deadline_of_http(
    phone: Phone, browser: Browser, clock: Clock
) -> None:
    wire = browser.wire()
    wire.send(_raw(browser))
    clock.pump([1] * int(IDLE_FOR * 3))
    assert not wire.closed
    wire.socket.lost()
    assert phone.lost


def test_a_wrapped_transport_passes_on_what_it_hears(phone: Phone, browser: Browser) -> None:
    """Some transports know the channel by a name that we do not: the channel forwards then."""
    wire = browser.wire()
    wire.socket.protocol = None
    channel = wire.channel
    channel.dataReceived(_raw(browser))
    channel.dataReceived(b"frame")
    channel.connectionLost(None)
    assert phone.heard == b"HEADframe"
    assert phone.lost


def test_a_phone_that_hung_up_meanwhile_is_not_handed_over(
    notes: Notes, phone: Phone, browser: Browser, log: list[Any]
) -> None:
    thinking: Deferred[None] = Deferred()
    notes.before = lambda: thinking
    wire = browser.wire()
    wire.send(_raw(browser))
    wire.socket.lost()
    thinking.callback(None)
    assert notes.upgraded == []
    assert log == []


def test_a_request_of_a_phone_that_hung_up_cannot_be_handed_over(notes: Notes, wire: Wire) -> None:
    wire.ask("GET", GOOD, **HANDSHAKE)
    ((request, *_),) = notes.upgraded
    wire.socket.lost()
    phone = Phone()
    request.hand_over(phone)
    assert phone.transport is None


def test_an_upgrade_that_forgets_the_hand_over_is_our_bug(
    notes: Notes, browser: Browser, log: list[Any]
) -> None:
    notes.upgrade = lambda *_, **__: None  # type: ignore[method-assign,assignment]
    assert browser.ask("GET", GOOD, **HANDSHAKE).status == 500
    assert "Incident" in log.pop()["log_format"]


def _raw(browser: Browser) -> bytes:
    return browser.raw("GET", GOOD, **HANDSHAKE)
