"""Frames: every one of the contract there and back, and nothing but `BadFrame` for all else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET

from smsd.domain.errors import BadFrame, Fault, Invalid
from smsd.domain.records import INT64, Inbound, Sim
from smsd.phone.frames import (
    Auth,
    BadInbound,
    CancelResult,
    CancelSms,
    Connected,
    DeliveryReport,
    Error,
    InboundAck,
    InboundSms,
    Ping,
    Pong,
    ResultAck,
    SendResult,
    SendSms,
    Sims,
    SimsAck,
    decode,
    decode_from_gateway,
    encode,
    message_id,
    told,
)

ids = st.integers(INT64.start, INT64.stop - 1)
texts = st.text(max_size=20)
#: A value that a phone gives for a number: never refused for what it is.
numbers = st.none() | ids | st.floats(allow_nan=False, allow_infinity=False) | texts
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)

sims = st.builds(
    Sim,
    slot=st.integers(0, 15),
    number=st.none() | texts,
    label=st.none() | texts,
    carrier=st.none() | texts,
)
messages = st.builds(
    Inbound,
    address=st.none() | texts,
    body=st.none() | texts,
    date=numbers,
    sim_slot=numbers,
    sim_number=st.none() | texts,
    id=numbers,
)
from_phone = st.one_of(
    st.builds(
        Auth,
        org_id=texts,
        secret_key=texts,
        device_id=st.none() | names.filter(lambda name: len(name) <= 64),
        ledger=st.none() | st.booleans() | ids | texts,
        claim_token=st.none() | texts,
    ),
    st.builds(Sims, st.lists(sims, max_size=16)),
    st.builds(InboundSms, messages),
    st.builds(
        SendResult,
        id=ids,
        success=st.booleans(),
        error=st.none() | texts,
        sent_at=numbers,
        ref=st.none() | texts,
    ),
    st.builds(
        DeliveryReport,
        id=ids,
        delivered=st.booleans(),
        at=numbers,
        error=st.none() | texts,
        ref=st.none() | texts,
    ),
    st.builds(CancelResult, ids, st.booleans()),
    st.just(Ping()),
)
from_gateway = st.one_of(
    st.builds(Connected, texts),
    st.builds(SimsAck, ids),
    st.builds(InboundAck, ids, st.just(UNSET) | texts | ids),
    st.builds(
        SendSms,
        ids,
        texts,
        texts,
        st.none() | texts,
        st.just(UNSET) | texts,
        st.just(UNSET) | ids,
        st.just(UNSET) | ids,
        st.just(UNSET) | st.booleans(),
    ),
    st.builds(ResultAck, ids),
    st.builds(CancelSms, ids),
    st.just(Pong()),
    st.builds(Error, texts, texts, st.just(UNSET) | texts, st.just(UNSET) | texts | ids),
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=10)
    | st.sampled_from(["auth", "sims", "inbound", "send_result", "delivery_report", "ping"])
)
keys = st.sampled_from(
    [
        "type",
        "message",
        "sims",
        "id",
        "success",
        "delivered",
        "org_id",
        "address",
        "body",
        "slot",
        "date",
    ]
) | st.text(max_size=5)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6),
    max_leaves=15,
)


@given(from_phone)
def test_a_phones_frame_survives_the_wire(frame: Any) -> None:
    assert decode(encode(frame)) == frame


@given(from_gateway)
def test_a_frame_to_a_phone_survives_the_wire(frame: Any) -> None:
    assert decode_from_gateway(encode(frame)) == frame


@given(from_phone, st.dictionaries(st.text(min_size=30, max_size=40), texts | ids, min_size=1))
def test_unknown_keys_are_ignored(frame: Any, more: dict[str, Any]) -> None:
    grown = {**more, **json.loads(encode(frame))}
    assert decode(json.dumps(grown).encode()) == frame


@given(st.binary() | st.text(st.characters()).map(lambda s: s.encode("utf-8", "surrogatepass")))
@example(b"")
@example(b"\xef\xbb\xbf{}")
@example(b"[" * 100_000)
@example(b'{"type":"ping"' + b"}" * 9)
@example(b'{"type":"ping","x":' + b"[" * 40 + b"]" * 40 + b"}")
@example(b'{"type":"send_result","success":true,"id":' + b"9" * 5000 + b"}")
@example(b'{"type":"send_result","success":true,"id":1e400}')
@example(b'{"type":"inbound","message":{"address":"a","body":"b","id":1e999}}')
@example(b'{"type":"inbound","message":{"address":"\\ud800","body":1,"id":"\\udfff"}}')
@example(b'{"type":"auth","org_id":"\\ud800","secret_key":"x"}')
def test_no_bytes_raise_anything_but_a_bad_frame(raw: bytes) -> None:
    try:
        decode(raw)
    except BadFrame as problem:
        encode(told(problem))


@given(st.dictionaries(keys, values, max_size=8))
def test_no_json_raises_anything_but_a_bad_frame(value: Any) -> None:
    try:
        frame = decode(json.dumps(value).encode())
    except BadInbound as problem:
        assert value["type"] == "inbound"
        encode(Error(problem.slug, problem.detail, "inbound", problem.message_id))
    except BadFrame as problem:
        encode(told(problem))
    else:
        assert encode(frame)


@pytest.mark.parametrize(
    ("said", "frame"),
    [
        ('{"type":"auth","org_id":"ORG","secret_key":"SECRET"}', Auth("ORG", "SECRET")),
        (
            '{"type":"sims","sims":[{"slot":0,"number":"+1555","label":"SIM1","carrier":"AT&T"}]}',
            Sims([Sim(slot=0, number="+1555", label="SIM1", carrier="AT&T")]),
        ),
        ('{"type":"sims","sims":[{"slot":1}]}', Sims([Sim(slot=1)])),
        ('{"type":"sims","sims":[{"slot":1,"number":""}]}', Sims([Sim(slot=1, number="")])),
        ('{"type":"sims","sims":[]}', Sims([])),
        (
            '{"type":"inbound","message":{"address":"+1","body":"x","date":1700000000000,'
            '"sim_slot":0}}',
            InboundSms(Inbound(address="+1", body="x", date=1700000000000, sim_slot=0)),
        ),
        (
            '{"type":"inbound","message":{"address":null,"body":null}}',
            InboundSms(Inbound(address=None, body=None)),
        ),
        ('{"type":"send_result","id":5,"success":true}', SendResult(5, True)),
        ('{"type":"cancel_result","id":5,"cancelled":true}', CancelResult(5, True)),
        ('{"type":"cancel_result","id":"5","cancelled":false}', CancelResult(5, False)),
        (
            '{"type":"send_result","id":5,"success":false,"error":"no signal","sent_at":1.0}',
            SendResult(5, False, "no signal", 1),
        ),
        ('{"type":"ping"}', Ping()),
        (' {"type" : "ping"} ', Ping()),
    ],
)
def test_the_contracts_frames_are_understood(said: str, frame: Any) -> None:
    assert decode(said.encode()) == frame


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (Connected("ORG"), '{"type":"connected","org_id":"ORG"}'),
        (SimsAck(1), '{"type":"sims_ack","count":1}'),
        (InboundAck(1), '{"type":"inbound_ack","stored":1}'),
        (InboundAck(1, "a"), '{"type":"inbound_ack","stored":1,"id":"a"}'),
        (
            SendSms(5, "+1999", "hi", "+1555"),
            '{"type":"send_sms","id":5,"to":"+1999","body":"hi","sim":"+1555"}',
        ),
        (
            SendSms(5, "+1999", "hi", None),
            '{"type":"send_sms","id":5,"to":"+1999","body":"hi","sim":null}',
        ),
        (
            SendSms(5, "+1999", "hi", "0", "ab", 2),
            '{"type":"send_sms","id":5,"to":"+1999","body":"hi","sim":"0","ref":"ab","attempt":2}',
        ),
        (ResultAck(5), '{"type":"result_ack","id":5}'),
        (CancelSms(5), '{"type":"cancel_sms","id":5}'),
        (Pong(), '{"type":"pong"}'),
        (Error("bad_frame", "..."), '{"type":"error","code":"bad_frame","detail":"..."}'),
        (
            Error("bad_frame", "...", "inbound", 7),
            '{"type":"error","code":"bad_frame","detail":"...","in_reply_to":"inbound","id":7}',
        ),
    ],
)
def test_what_a_phone_reads_is_the_contract_to_the_byte(frame: Any, said: str) -> None:
    assert encode(frame) == said.encode()


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        (b"hello", "The frame is not JSON: Expecting value: line 1 column 1 (char 0)."),
        (b"\xff", "The frame is not UTF-8 (byte 0)."),
        (b"[]", "The frame must be a JSON object, as in {...}."),
        (
            b"{}",
            "Unknown type: a phone sends one of auth, sims, inbound, send_result, delivery_report,"
            " cancel_result, ping.",
        ),
        (b'{"type":"dance"}', "Unknown type:"),
        (b'{"type":["auth"]}', "Unknown type:"),
        (b'{"type":"connected","org_id":"x"}', "Unknown type:"),
        (b'{"type":"auth","org_id":"x"}', "auth: secret_key is missing"),
        (b'{"type":"auth","org_id":1,"secret_key":null}', "auth: org_id must be text; "),
        (
            b'{"type":"auth","org_id":"x","secret_key":"y","device_id":""}',
            "auth: device_id must be a name of 1 to 64 characters",
        ),
        (
            b'{"type":"auth","org_id":"x","secret_key":"y","device_id":"a\\u0000"}',
            "auth: device_id must be a name of 1 to 64 characters",
        ),
        (b'{"type":"sims"}', "sims: sims is missing"),
        (b'{"type":"sims","sims":[{"slot":0},{}]}', "sims: sims.1.slot is missing"),
        (
            b'{"type":"sims","sims":[{"slot":-1},{"slot":true},{"slot":[]}]}',
            "sims: sims.1.slot must be a slot from 0 to 15; "
            "sims.2.slot must be a slot from 0 to 15",
        ),
        (
            b'{"type":"sims","sims":[' + b",".join([b'{"slot":-1}'] * 17) + b"]}",
            "sims: sims must hold at most 16 SIMs",
        ),
        (b'{"type":"send_result","id":"five"}', "send_result: id must be an integer; success"),
        (b'{"type":"send_result","id":5.5,"success":true}', "send_result: id must be an integer"),
        (
            b'{"type":"send_result","id":5,"success":1}',
            "send_result: success must be true or false",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(said: bytes, detail: str) -> None:
    with pytest.raises(BadFrame) as caught:
        decode(said)
    assert detail.replace("`", "") in caught.value.detail
    assert not isinstance(caught.value, BadInbound)


@pytest.mark.parametrize("five", ["5", "5.0", '"5"', '" 5 "', '"05"'])
def test_an_integer_in_another_dress_is_an_integer(five: str) -> None:
    result = b'{"type":"send_result","id":%b,"success":true}' % five.encode()
    assert decode(result) == SendResult(5, True)
    report = b'{"type":"sims","sims":[{"slot":%b,"number":"+1"}]}' % five.encode()
    assert decode(report) == Sims([Sim(slot=5, number="+1")])


@pytest.mark.parametrize("slot", ["-1", "16", "1.5", '"-1"', '"one"', '""', "null", str(2**70)])
def test_a_sim_in_no_slot_is_left_out_and_the_others_count(slot: str) -> None:
    report = b'{"type":"sims","sims":[{"slot":%b,"number":"+1"},{"slot":1}]}' % slot.encode()
    assert decode(report) == Sims([Sim(slot=1)])


@pytest.mark.parametrize(
    ("given_id", "told_id"),
    [
        ('"a"', "a"),
        ("7", 7),
        ("7.0", 7),
        ("7.5", UNSET),
        ("true", UNSET),
        ("null", UNSET),
        ('""', UNSET),
        (str(2**70), UNSET),
        ("[1]", UNSET),
        ('"\\ud800"', "\ufffd"),
    ],
)
def test_a_bad_inbound_carries_the_id_by_which_its_phone_knows_it(
    given_id: str, told_id: Any
) -> None:
    with pytest.raises(BadInbound) as caught:
        decode(b'{"type":"inbound","message":{"address":"+1","id":%b}}' % given_id.encode())
    assert "message.body is missing" in caught.value.detail
    assert caught.value.message_id == told_id


@pytest.mark.parametrize("message", ["null", "[]", '"x"', "5", '{"address":5,"body":"x"}'])
def test_an_inbound_without_a_message_can_never_be_stored(message: str) -> None:
    with pytest.raises(BadInbound, match=r"^inbound: message"):
        decode(b'{"type":"inbound","message":%b}' % message.encode())


def test_half_a_character_in_an_sms_becomes_a_whole_one() -> None:
    frame = decode(b'{"type":"inbound","message":{"address":"\\ud800+1","body":"x\\udfff"}}')
    assert frame == InboundSms(Inbound(address="\ufffd+1", body="x\ufffd"))


def test_half_a_character_in_a_secret_is_refused() -> None:
    with pytest.raises(BadFrame, match="secret_key holds half of a character"):
        decode(b'{"type":"auth","org_id":"myorg","secret_key":"\\ud800"}')


@pytest.mark.parametrize(
    ("ledger", "keeps"),
    [
        *[(yes, True) for yes in (True, 1, "1", "true", "TRUE")],
        *[(no, False) for no in (False, 0, "0", "no", "", None)],
    ],
)
def test_who_promises_a_ledger(ledger: Any, keeps: bool) -> None:
    raw = json.dumps({"type": "auth", "org_id": "o", "secret_key": "s", "ledger": ledger})
    frame = decode(raw.encode())
    assert isinstance(frame, Auth)
    assert frame.keeps_ledger is keeps


@given(scalars)
def test_an_id_is_repeated_as_it_was_or_not_at_all(given_id: Any) -> None:
    assert message_id(given_id) in (UNSET, given_id)


def test_a_problem_is_told_with_all_its_faults() -> None:
    problem = Invalid("No.", errors=[Fault(["org_id"], "is short"), Fault(["a", 0], "is odd")])
    assert told(problem) == Error("invalid", "No. org_id is short; a.0 is odd")
