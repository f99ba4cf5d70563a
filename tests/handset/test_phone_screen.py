"""What the user of the reference phone sees, and what typed lines mean."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from smsd.domain.records import INBOUND_LENGTH, Inbound, Sim
from smsd.handset.keyboard import LONGEST_LINE, Keyboard
from smsd.handset.line import Address
from smsd.handset.screen import HINT, TOO_LONG, Screen, came, typed, went
from smsd.phone.frames import (
    CancelResult,
    CancelSms,
    Connected,
    Error,
    GatewayFrame,
    InboundAck,
    InboundSms,
    PhoneFrame,
    Ping,
    Pong,
    ResultAck,
    SendResult,
    SendSms,
    Sims,
    SimsAck,
)

SIM = Sim(slot=1, number="+15550100001")


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (Connected("myorg"), "connected to org myorg"),
        (SimsAck(1), "sims stored: 1"),
        (SendSms(5, "+1555", "hi", None), "send_sms 5 to +1555: hi"),
        (SendSms(5, "+1555", "hi", "0"), "send_sms 5 to +1555 by SIM 0: hi"),
        (ResultAck(5), "result of 5 acknowledged"),
        (CancelSms(5), "cancel_sms 5"),
        (InboundAck(1), "inbound stored"),
        (Pong(), "pong"),
        (Error("bad_frame", "What?"), "error bad_frame: What?"),
        (Error("bad_frame", "No.", in_reply_to="inbound"), "error bad_frame to inbound: No."),
    ],
)
def test_a_frame_that_came_is_told_in_words(frame: GatewayFrame, words: str) -> None:
    assert came(frame) == words


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (Sims([SIM, Sim(slot=2)]), "sims: slot 1, number +15550100001, slot 2, number unknown"),
        (InboundSms(Inbound(address="+1555", body="hi")), "inbound from +1555: hi"),
        (SendResult(5, success=True), "send_result 5: sent"),
        (SendResult(5, success=False, error="no credit"), "send_result 5: failed, no credit"),
        (CancelResult(5, cancelled=True), "cancel_result 5: given back, it is not sent"),
        (CancelResult(5, cancelled=False), "cancel_result 5: too late"),
        (Ping(), "ping"),
    ],
)
def test_a_frame_that_went_is_told_in_words(frame: PhoneFrame, words: str) -> None:
    assert went(frame) == words


def test_a_strangers_text_cannot_command_the_terminal_or_forge_a_line() -> None:
    stdout = io.StringIO()
    Screen(stdout).came(SendSms(5, "+1555", "\x1b[2Jü\n<- forged\u202e", None))
    assert stdout.getvalue() == "<- send_sms 5 to +1555: \\x1b[2Jü\\n<- forged\\u202e\n"


def test_a_screen_that_is_gone_says_so_and_breaks_nothing(tmp_path: Path) -> None:
    class Closed(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

        def fileno(self) -> int:
            return file.fileno()

    told: list[str] = []
    with open(tmp_path / "stdout", "w") as file:
        screen = Screen(Closed())
        screen.gone = lambda: told.append("gone")
        screen.show("hello")
    assert told == ["gone"]


def test_a_typed_number_and_text_are_an_sms_that_arrives() -> None:
    assert typed("+15550100003  some  text ", SIM, "x", 7) == Inbound(
        address="+15550100003",
        body="some  text",
        date=7,
        sim_slot=1,
        sim_number="+15550100001",
        id="x",
    )


@pytest.mark.parametrize("line", ["hello", "+15550100003", "15550100003 hi", "+1555x hi", "help"])
def test_any_other_line_gets_a_hint(line: str) -> None:
    assert typed(line, SIM, "x", 7) == HINT


def test_a_text_that_could_never_be_stored_is_not_taken() -> None:
    assert typed("+1555 " + "x" * (INBOUND_LENGTH + 1), SIM, "x", 7) == TOO_LONG


class Pipe:
    """A keyboard at one end of a pipe."""

    def __init__(self, tmp_path: Path, content: bytes) -> None:
        self.lines: list[str] = []
        path = tmp_path / "typed"
        path.write_bytes(content)
        with path.open("rb") as file:
            keyboard = Keyboard(None, file.fileno(), self.lines.append)
            while keyboard.doRead() is None:
                pass


def test_lines_are_read_as_they_are_typed(tmp_path: Path) -> None:
    assert Pipe(tmp_path, "+1555 grüße\n\nsecond\nunfinished".encode()).lines == [
        "+1555 grüße",
        "",
        "second",
    ]


def test_what_is_not_utf_8_breaks_nothing(tmp_path: Path) -> None:
    assert Pipe(tmp_path, b"+1555 \xff\n").lines == ["+1555 \ufffd"]


def test_a_line_without_end_is_not_kept_without_end(tmp_path: Path) -> None:
    (line,) = Pipe(tmp_path, b"x" * (LONGEST_LINE * 2) + b"\n").lines
    assert len(line) <= LONGEST_LINE + 65536


def test_the_secret_is_in_no_repr_and_in_no_url() -> None:
    address = Address("ws://h/websocket", "myorg", "my-secret-key-123", "d 1", ledger=True)
    assert "my-secret-key-123" not in repr(address) + address.full_url
    assert address.full_url == "ws://h/websocket?device_id=d+1&ledger=1"


def test_a_key_is_borne_in_a_header_and_in_no_repr_and_in_no_url() -> None:
    address = Address("ws://h/websocket", "myorg", None, key="smsd_secret")
    assert address.headers == {"X-Org-Id": "myorg", "Authorization": "Bearer smsd_secret"}
    assert "smsd_secret" not in repr(address) + address.full_url


def test_a_plain_phone_says_nothing_of_itself_in_the_url() -> None:
    assert Address("ws://h/websocket", "myorg", "s").full_url == "ws://h/websocket"
