"""What a phone says of an SMS is never refused for its value, and a retry is known again."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smsd.domain.numbers import SLOTS
from smsd.domain.records import (
    ANYONE,
    ID_LENGTH,
    INT64,
    Inbound,
    Result,
    Wish,
    integer,
    jsoned,
    new_ref,
    readable,
)

whatever = st.none() | st.integers() | st.floats() | st.text()
in_int64 = st.integers(INT64[0], INT64[-1])
texts = st.text(st.characters(exclude_categories=["Cs"]))


def sms(**said):
    return Inbound(**{"address": "+15551112222", "body": "hi", **said})


@given(whatever)
@example("--5")
@example("-")
@example("")
@example("١٢")
@example("1_000")
@example("9" * 5000)
@example(float("inf"))
@example(float("nan"))
def test_whatever_a_phone_gives_for_a_number_is_an_integer_or_none(value):
    found = integer(value)
    assert found is None or (type(found) is int and found in INT64)


@given(in_int64)
def test_an_integer_may_come_as_a_text(value):
    assert integer(value) == value
    assert integer(f" {value} ") == value or len(str(abs(value))) > 19


@given(st.integers(-(2**53), 2**53))
def test_an_integer_may_come_as_an_integral_float(value):
    assert integer(float(value)) == value


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**400, 1e300, 1.5, "1.0", "1e3", "0x10"])
def test_what_is_no_integer_of_64_bits_is_none(value):
    assert integer(value) is None


@pytest.mark.parametrize("value", [-1, 16, "-1", 255, "fifteen", 0.5])
def test_a_slot_out_of_range_is_none(value):
    assert integer(value, SLOTS) is None
    assert sms(sim_slot=value).slot is None


@pytest.mark.parametrize("value", [0, "0", 0.0, 15, "15"])
def test_a_slot_in_range_is_kept(value):
    assert sms(sim_slot=value).slot == int(value)


@given(texts)
def test_a_readable_text_has_no_nul_and_its_length(text):
    assert readable(text) == text.replace("\0", "\ufffd")
    assert len(readable(text)) == len(text)


@pytest.mark.parametrize(
    ("given_number", "kept"),
    [
        ("+15551112222", "+15551112222"),
        ("1\x002", "1\ufffd2"),
        ("", None),
        (None, None),
        ("unknown", None),
        ("1" * 64, "1" * 64),
        ("1" * 65, None),
    ],
)
def test_a_sims_number_is_kept_where_it_is_one(given_number, kept):
    assert sms(sim_number=given_number).number == kept


def test_five_is_five_however_a_phone_writes_it():
    assert sms(id=5).dedupe == sms(id="5").dedupe == sms(id=5.0).dedupe is not None


@pytest.mark.parametrize("id_", [None, "", 5.5, math.inf, math.nan, 1e300, "x" * (ID_LENGTH + 1)])
def test_without_a_usable_id_nothing_is_known_again(id_):
    assert sms(id=id_).dedupe is None


@given(whatever, whatever)
def test_the_key_of_a_retry_is_a_hash_or_none(id_, date):
    one = sms(id=_encodable(id_), date=_encodable(date)).dedupe
    assert one is None or (len(one) == 64 and bytes.fromhex(one))


def _encodable(value):
    return value.encode("ascii", "replace").decode() if isinstance(value, str) else value


named = st.tuples(texts.filter(lambda t: 0 < len(t) < 99), texts, st.none() | in_int64, texts)


@given(named, named)
@example(("a", "bc", None, "d"), ("ab", "c", None, "d"))
@example(("a", "b", 1, ""), ("a", "b", None, "1"))
@example(("a", "1:b", None, "c"), ("a1:", "b", None, "c"))
def test_two_messages_have_one_key_only_if_all_four_parts_are_equal(one, other):
    keys = [
        Inbound(id=id_, address=address, date=date, body=body).dedupe
        for id_, address, date, body in (one, other)
    ]
    assert (keys[0] == keys[1]) == (_as_stored(one) == _as_stored(other))


def _as_stored(parts):
    id_, address, date, body = parts
    return id_, readable(address), date, readable(body)


def test_a_null_text_is_an_empty_one():
    assert sms(id=1, body=None).dedupe == sms(id=1, body="").dedupe
    assert sms(id=1, address=None).dedupe == sms(id=1, address="").dedupe


def test_a_date_out_of_range_is_no_date():
    assert sms(id=1, date=10**30).dedupe == sms(id=1).dedupe
    assert sms(id=1, date=0).dedupe != sms(id=1).dedupe


@pytest.mark.parametrize(
    ("sim", "key", "text"),
    [
        (None, "*", None),
        (0, "slot:0", "0"),
        ("0", "slot:0", "0"),
        ("15", "slot:15", "15"),
        ("+1555 000", "1555000", "+1555 000"),
        ("1555000", "1555000", "1555000"),
        (" 1555000", "1555000", " 1555000"),
        (16, "16", "16"),
        (15551112222, "15551112222", "15551112222"),
    ],
)
def test_a_wish_names_the_queue_in_which_its_ticket_waits(sim, key, text):
    wish = Wish.of(sim)
    assert (wish.key, wish.text) == (key, text)


def test_who_asks_for_no_sim_asks_for_anyone():
    assert Wish.of(None) == ANYONE


def test_a_result_says_which_state_it_enters():
    assert Result(org_id="acme", id=1, success=True).status == "sent"
    assert Result(org_id="acme", id=1, success=False).status == "failed"


def test_a_ref_is_sixteen_random_bytes_in_hex():
    refs = {new_ref() for _ in range(100)}
    assert len(refs) == 100
    assert all(len(bytes.fromhex(ref)) == 16 for ref in refs)


def test_rows_travel_as_json_text():
    assert jsoned([{"a": "ü\0"}]) == '[{"a":"ü\\u0000"}]'
