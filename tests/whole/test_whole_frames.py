"""Contract section 4 over the wire: every frame, every close code, takeover and the handshake."""

from __future__ import annotations

import base64
import json
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from canaries import canaries
from daemon import PATIENCE, Daemon
from visitors import Org, Phone, calling, exchange, new_address, refused, until
from websockets.frames import Frame, Opcode

pytestmark = pytest.mark.whole

MEBIBYTE = 1 << 20
UPGRADE = {
    "Host": "x",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
}


def handshake(path: str, **headers: str | None) -> bytes:
    """The head of an opening handshake, with these headers changed or left out."""
    changed = UPGRADE | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in changed.items() if value is not None]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


def path_of(org: Org) -> str:
    return "/" + org.socket_url().split("/", 3)[3]


def framed(**frame: Any) -> bytes:
    """A frame as a phone puts it on the wire."""
    return Frame(Opcode.TEXT, json.dumps(frame).encode()).serialize(mask=True)


@pytest.fixture(scope="module", autouse=True)
def silent(gateway: Daemon) -> Iterator[Phone]:
    """A phone that has opened a socket before all tests of this module, and says nothing."""
    with calling(gateway.socket_url) as phone:
        yield phone


# -- the handshake --


def test_wrong_credentials_in_the_url_are_an_ordinary_answer(org: Org) -> None:
    wrong = Org(org.url, org.id, canaries.secret(), new_address())
    answer = refused(wrong.socket_url(), wrong.address)
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "WWW-Authenticate" in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    told = json.loads(answer.body or b"")
    assert (told["status"], told["type"]) == (401, "urn:smsd:problem:unauthorised")


@pytest.mark.parametrize("missing", ["org_id", "secret_key"])
def test_half_of_the_credentials_are_none(org: Org, missing: str) -> None:
    assert refused(org.socket_url(**{missing: ""}).replace(f"{missing}=", "x=")).status_code == 401


def test_a_claim_of_the_wrong_shape_is_told_before_the_upgrade(gateway: Daemon) -> None:
    answer = refused(f"{gateway.socket_url}?org_id=no&secret_key=short")
    assert answer.status_code == 422
    assert len(json.loads(answer.body or b"")["errors"]) == 2


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upgrade": None}, 426),
        ({"Upgrade": "h2c"}, 426),
        ({"Sec_WebSocket_Version": "8"}, 426),
        ({"Sec_WebSocket_Version": None}, 426),
        ({"Connection": "close"}, 400),
        ({"Sec_WebSocket_Key": "short"}, 400),
        ({"Sec_WebSocket_Key": None}, 400),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_a_handshake_that_is_none_is_refused(
    org: Org, headers: dict[str, str | None], status: int
) -> None:
    answer = exchange(org.url, handshake(path_of(org), **headers))
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    if status == 426:
        assert answer.headers["Sec-WebSocket-Version"] == "13"
        assert answer.headers["Upgrade"] == "websocket"


def test_an_origin_of_our_own_or_an_allowed_one_is_let_in(org: Org, gateway: Daemon) -> None:
    for origin in (gateway.url, "https://app.example"):
        with calling(org.socket_url(), origin=origin) as phone:
            assert phone.hear()["type"] == "connected"


def test_compression_is_not_offered(org: Org) -> None:
    with calling(org.socket_url(), compression="deflate") as phone:
        assert phone.socket.protocol.extensions == []
        assert phone.hear()["type"] == "connected"


def test_frames_in_the_segment_of_the_handshake_are_not_lost(org: Org) -> None:
    text = canaries.text()
    early = framed(type="ping") + framed(type="inbound", message={"address": "1234", "body": text})
    heard = raw_conversation(org, handshake(path_of(org)) + early, b'"inbound_ack"')
    assert heard.startswith(b"HTTP/1.1 101 ")
    assert heard.index(b"connected") < heard.index(b"pong") < heard.index(b"inbound_ack")
    assert [row["body"] for row in org.read()] == [text]


def test_an_auth_frame_in_the_segment_of_the_handshake_is_not_lost(free: Org) -> None:
    auth = framed(type="auth", org_id=free.id, secret_key=free.secret)
    sms = framed(type="inbound", message={"address": "1234", "body": canaries.text()})
    raw_conversation(free, handshake("/websocket") + auth + sms, b'"inbound_ack"')
    assert len(free.read()) == 1


def raw_conversation(org: Org, said: bytes, until: bytes) -> bytes:
    """All that is heard up to these bytes, after saying everything in one segment."""
    host, port = org.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), PATIENCE) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.sendall(said)
        heard = b""
        while until not in heard:
            more = line.recv(65536)
            assert more, heard
            heard += more
    return heard


# -- auth --


def test_auth_is_answered_by_connected(org: Org, gateway: Daemon) -> None:
    with calling(gateway.socket_url) as phone:
        phone.say(type="auth", org_id=org.id, secret_key=org.secret)
        assert phone.hear() == {"type": "connected", "org_id": org.id}


def test_wrong_credentials_in_auth_are_an_error_and_4401(org: Org, gateway: Daemon) -> None:
    with calling(gateway.socket_url, new_address()) as phone:
        phone.say(type="auth", org_id=org.id, secret_key=canaries.secret())
        error = phone.hear()
        assert (error["type"], error["code"]) == ("error", "unauthorised")
        assert error["detail"]
        assert phone.end()[0] == 4401


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "ping"},
        {"type": "sims", "sims": []},
        {"type": "inbound", "message": {"address": "1", "body": "x"}},
        {"type": "nonsense"},
        {"type": "auth", "org_id": "an-org"},
    ],
)
def test_any_other_frame_before_auth_is_4401(gateway: Daemon, frame: dict[str, Any]) -> None:
    with calling(gateway.socket_url) as phone:
        phone.say(**frame)
        assert phone.end()[0] == 4401


def test_a_second_auth_is_an_error_and_the_phone_stays(org: Org) -> None:
    with org.phone() as phone:
        phone.say(type="auth", org_id=org.id, secret_key=org.secret)
        assert phone.hear()["code"] == "bad_frame"
        assert phone.hear_all_before_pong() == []


# -- good frames --


def test_ping_is_answered_by_pong(org: Org) -> None:
    with org.phone() as phone:
        phone.say(type="ping", more="ignored")
        assert phone.hear() == {"type": "pong"}


def test_a_protocol_ping_is_answered(org: Org) -> None:
    with org.phone() as phone:
        assert phone.socket.ping().wait(PATIENCE)


def test_a_fragmented_frame_is_one_frame(org: Org) -> None:
    with org.phone() as phone:
        phone.socket.send(iter(['{"type":', '"ping"', "}"]))
        assert phone.hear() == {"type": "pong"}


def test_sims_replace_what_was_reported_before(org: Org) -> None:
    first = {"slot": 0, "number": canaries.number(), "label": None, "carrier": None}
    with org.phone(first) as phone:
        assert org.sims()["live_sims"] == [first]
        phone.report({"slot": 1}, {"slot": 2, "number": ""})
        live = org.sims()["live_sims"]
        assert [sim["slot"] for sim in live] == [1, 2]
        phone.report()
        assert org.sims()["live_sims"] == []
        assert org.sims()["online_devices"] == 1


def test_an_inbound_sms_is_stored_before_its_ack(org: Org) -> None:
    with org.phone({"slot": 0, "number": (number := canaries.number())}) as phone:
        text = canaries.text()
        answer = phone.receive(text, date=1700000000000, sim_slot=0, id="a-7")
        assert answer == {"type": "inbound_ack", "stored": 1, "id": "a-7"}
        (row,) = org.read()
        assert (row["body"], row["device_ts"], row["sim_slot"]) == (text, 1700000000000, 0)
        assert row["sim_number"] == number


def test_answers_come_in_the_order_of_the_frames(org: Org) -> None:
    with org.phone() as phone:
        for n in range(60):
            body: Any = 5 if n % 7 == 0 else canaries.text()
            phone.say(type="inbound", message={"address": "1234", "body": body, "id": n})
        answers = [phone.hear() for _ in range(60)]
    assert [answer["id"] for answer in answers] == list(range(60))
    for n, answer in enumerate(answers):
        if n % 7 == 0:
            assert (answer["type"], answer["code"]) == ("error", "bad_frame")
            assert answer["in_reply_to"] == "inbound"
        else:
            assert answer["type"] == "inbound_ack"
    assert len(org.read()) == 60 - 9


def test_an_sms_comes_once_by_both_roads(org: Org) -> None:
    sms = org.sms(id="9", date=5)
    with org.phone() as phone:
        phone.say(type="inbound", message=sms)
        phone.say(type="inbound", message=sms)
        assert [phone.hear()["stored"] for _ in range(2)] == [1, 1]
    assert org.store(sms).json()["stored"] == 1
    assert len(org.read()) == 1


def test_an_inbound_sms_is_never_refused_for_its_value(org: Org) -> None:
    with org.phone() as phone:
        odd = {"date": "?", "sim_slot": -1, "sim_number": 5 * "x", "id": "y" * 999}
        assert phone.receive("nul\0 and half \ud800", **odd)["type"] == "inbound_ack"
    (row,) = org.read()
    assert row["body"] == "nul\ufffd and half \ufffd"


def test_a_ticket_goes_out_as_send_sms_and_its_result_comes_back(org: Org) -> None:
    number = canaries.number()
    with org.phone({"slot": 2, "number": number}) as phone:
        to, body = canaries.number(), canaries.text()
        answer = org.send(to=f"{to[:4]}-{to[4:]}", body=body, sim=2)
        assert answer["device_online"]
        id_ = answer["results"][0]["id"]
        frame = {"type": "send_sms", "id": id_, "to": to, "body": body, "sim": "2"}
        assert phone.hear() == frame
        assert org.row(id_)["status"] == "sending"
        phone.confirm(id_, sent_at=1700000000123)
        row = org.settled(id_)
    assert (row["status"], row["attempts"], row["error"]) == ("sent", 1, None)
    assert row["sent_at"].startswith("2023-11-14T22:13:20.123")
    assert (row["sim_slot"], row["sim_number"]) == (2, number)


def test_a_failure_carries_the_phones_own_words(org: Org) -> None:
    with org.phone() as phone:
        id_ = org.ticket()
        assert phone.hear()["sim"] is None
        phone.confirm(id_, False, error="no signal " + "x" * 600)
        row = org.settled(id_)
    assert (row["status"], row["error"], row["sent_at"]) == ("failed", "phone_failed", None)
    assert row["error_detail"].startswith("no signal xxx")
    assert len(row["error_detail"]) == 500


def test_only_a_ledger_phone_gets_ref_attempt_and_result_ack(org: Org) -> None:
    with org.phone(device_id="d-1", ledger="true") as phone:
        id_ = org.ticket()
        frame = phone.hear()
        assert set(frame) == {"type", "id", "to", "body", "sim", "ref", "attempt"}
        assert (len(bytes.fromhex(frame["ref"])), frame["attempt"]) == (16, 1)
        phone.confirm(id_, ref="0" * 32)
        assert phone.hear_all_before_pong() == []
        assert org.row(id_)["status"] == "sending"
        phone.confirm(id_, ref=frame["ref"])
        assert phone.hear() == {"type": "result_ack", "id": id_}
        assert org.row(id_)["status"] == "sent"


# -- bad frames --


@pytest.mark.parametrize(
    "text",
    [
        *("", "nonsense", "[]", "5", '"ping"', "null", "{}", '{"type":5}', '{"type":"connected"}'),
        *('{"type":"sims"}', '{"type":"sims","sims":[{}]}', '{"type":"sims","sims":[{"slot":[]}]}'),
        *('{"type":"send_result","id":"five","success":true}', '{"type":"send_result","id":5}'),
        *('{"type":"ping","x":NaN}', "[" * 3000, '{"type":' * 3000),
    ],
)
def test_a_bad_frame_is_an_error_and_the_connection_goes_on(org: Org, text: str) -> None:
    with org.phone() as phone:
        phone.socket.send(text)
        error = phone.hear()
        assert (error["type"], error["code"]) == ("error", "bad_frame")
        assert error["detail"]
        assert phone.hear_all_before_pong() == []


def test_twenty_bad_frames_in_a_minute_are_4400(org: Org) -> None:
    with org.phone() as phone:
        for _ in range(19):
            phone.socket.send("nonsense")
        assert len(phone.hear_all_before_pong()) == 19
        phone.socket.send("nonsense")
        assert phone.end()[0] == 4400


def test_a_binary_frame_is_4400(org: Org) -> None:
    with org.phone() as phone:
        phone.socket.send(b'{"type":"ping"}')
        assert phone.end()[0] == 4400


def test_a_frame_over_one_mebibyte_is_1009(org: Org) -> None:
    with org.phone() as phone:
        phone.socket.send('{"type":"ping","x":"' + "x" * MEBIBYTE + '"}')
        assert phone.end()[0] == 1009


def test_a_frame_just_under_one_mebibyte_is_read(org: Org) -> None:
    with org.phone() as phone:
        phone.socket.send('{"type":"ping","x":"' + "x" * (MEBIBYTE - 30) + '"}')
        assert phone.hear() == {"type": "pong"}


def test_text_that_is_not_utf_8_is_1007(org: Org) -> None:
    with org.phone() as phone:
        phone.socket.send(b"\xff\xfe", text=True)
        assert phone.end()[0] == 1007


@pytest.mark.parametrize("id_", [0, -1, 1, 10**6, 2**63, 10**30])
def test_a_result_for_what_was_never_pushed_is_an_error(org: Org, id_: int) -> None:
    inbound_id = org.store(org.sms()) and org.read()[0]["id"]
    assert inbound_id == 1
    with org.phone() as phone:
        phone.confirm(id_)
        assert phone.hear()["code"] in ("unknown_ticket", "bad_frame")
        assert phone.hear_all_before_pong() == []
    assert org.row(1)["status"] == "received"


def test_another_orgs_result_changes_nothing(org: Org, gateway: Daemon) -> None:
    other = Org(gateway.url).claim()
    with other.agent, org.phone() as phone, other.phone() as stranger:
        id_ = org.ticket()
        phone.hear()
        stranger.confirm(id_)
        assert stranger.hear()["code"] == "unknown_ticket"
        assert org.row(id_)["status"] == "sending"


def flood(line: socket.socket, frame: bytes) -> None:
    for _ in range(64 * MEBIBYTE // len(frame)):
        line.sendall(frame)


def test_a_phone_that_does_not_read_is_dropped(org: Org) -> None:
    """More than 1 MiB unread: its answers are not kept for it without end."""
    host, port = org.url.removeprefix("http://").split(":")
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(PATIENCE)
        line.connect((host, int(port)))
        line.sendall(handshake(path_of(org)))
        answered_at_length = framed(
            type="inbound", message={"address": "1234", "body": "x", "id": "y" * 60_000}
        )
        with pytest.raises(ConnectionError):
            flood(line, answered_at_length)


# -- takeover --


def test_the_same_device_takes_over(org: Org) -> None:
    with org.phone(device_id="d-1") as old, org.phone(device_id="d-1") as new:
        assert old.end()[0] == 4409
        assert org.sims()["online_devices"] == 1
        id_ = org.ticket()
        assert new.hear()["id"] == id_


def test_the_same_number_takes_over_where_neither_named_a_device(org: Org) -> None:
    number = canaries.number()
    again = {"slot": 1, "number": f" {number[1:]}"}
    with org.phone({"slot": 0, "number": number}) as old, org.phone(again) as new:
        assert old.end()[0] == 4409
        assert new.hear_all_before_pong() == []


def test_slots_and_empty_numbers_never_match(org: Org) -> None:
    sim = {"slot": 0, "number": ""}
    with ExitStack() as calls:
        phones = [calls.enter_context(org.phone(sim)) for _ in range(2)]
        phones += [calls.enter_context(org.phone(sim, device_id=name)) for name in ("a", "b")]
        phones += [calls.enter_context(org.phone())]
        assert org.sims()["online_devices"] == 5
        assert [phone.hear_all_before_pong() for phone in phones] == [[]] * 5


def test_a_number_in_common_takes_nothing_over_from_a_named_device(org: Org) -> None:
    sim = {"slot": 0, "number": canaries.number()}
    with org.phone(sim, device_id="d-1") as named, org.phone(sim):
        assert named.hear_all_before_pong() == []
        assert org.sims()["online_devices"] == 2


def test_a_result_may_come_on_another_session_of_the_org(org: Org) -> None:
    with org.phone() as first, org.phone() as second:
        id_ = org.ticket()
        assert first.hear()["id"] == id_
        second.confirm(id_)
        assert org.settled(id_)["status"] == "sent"


def test_the_sixth_takeover_in_a_minute_sends_the_newcomer_away(org: Org) -> None:
    with ExitStack() as calls:

        def come() -> Phone:
            return calls.enter_context(calling(org.socket_url(device_id="clone")))

        phones = [come()]
        assert phones[0].hear()["type"] == "connected"
        for _ in range(5):
            phones.append(come())
            assert phones[-1].hear()["type"] == "connected"
            assert phones[-2].end()[0] == 4409
        newcomer = come()
        assert newcomer.end()[0] == 4503
        assert phones[-1].hear_all_before_pong() == []


def test_a_phone_that_connects_200_times_leaves_nothing_behind(org: Org) -> None:
    ticket = 0
    for n in range(200):
        with calling(org.socket_url()) as phone:
            if n % 3:  # some hang up before they are greeted
                assert phone.hear()["type"] == "connected"
            if n == 100:
                ticket = org.ticket()
                assert phone.hear()["id"] == ticket
                phone.confirm(ticket)
    assert org.settled(ticket)["status"] == "sent"
    with org.phone() as phone:
        assert phone.hear_all_before_pong() == []
        assert org.sims()["online_devices"] == 1


def test_a_phone_that_breaks_off_is_gone_at_once(org: Org) -> None:
    host, port = org.url.removeprefix("http://").split(":")
    line = socket.create_connection((host, int(port)), PATIENCE)
    line.sendall(handshake(path_of(org)))
    while b"connected" not in line.recv(65536):
        pass
    assert org.sims()["online_devices"] == 1
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.close()  # a reset, not a farewell
    until(lambda: org.sims()["online_devices"] == 0)


def test_silence_before_auth_is_4408(silent: Phone) -> None:
    assert silent.end()[0] == 4408
