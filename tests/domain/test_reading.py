"""Whatever bytes come in: a checked value, or a problem that lists every fault."""

import json
import math
from typing import Annotated

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from smsd.domain.errors import Invalid, NotJson
from smsd.domain.reading import DEPTH, Reader, Unfit, mended, parsed
from smsd.domain.records import Draft, Inbound, Sim


class Letter(Struct, kw_only=True):
    """A body as our routes have them: lists of records, optional lists, leaves."""

    org_id: str | None = None
    messages: Annotated[list[Inbound], Meta(max_length=5, description="at most 5")]
    drafts: Annotated[list[Draft], Meta(min_length=1, max_length=2)] | None = None
    sims: list[Sim] = []
    count: int = 0


class Pair(Struct):
    """A record that judges its fields together."""

    one: int | None = None
    other: int | None = None

    def __post_init__(self):
        if self.one and self.other:
            raise ValueError("send one or other, not both")
        if self.one == 13:
            raise Unfit("one", "must not be 13")


class Pairs(Struct):
    """Several of them."""

    pairs: list[Pair] = []


STRICT, LENIENT = Reader(Letter), Reader(Letter, lenient=True)
SMS = '{"address":"+1555","body":"hi"}'


def letter(*messages):
    return ('{"messages":[' + ",".join(messages) + "]}").encode()


def faults(reader, raw):
    with pytest.raises(Invalid) as caught:
        reader.read(raw if isinstance(raw, bytes) else json.dumps(raw).encode())
    return {tuple(fault.loc): fault.msg for fault in caught.value.errors}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
FIELDS = ["org_id", "messages", "drafts", "sims", "count", "address", "body", "date", "sim_slot"]
FIELDS += ["sim_number", "id", "to", "sim", "slot", "number", "label", "carrier"]
alike = st.recursive(
    json_values,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6)
    ),
)


@given(st.binary())
@example(b"")
@example(b"\xef\xbb\xbf{}")
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
@example('{"messages":[]}'.encode("utf-16"))
@example('{"messages":[]}'.encode("utf-16-le"))
@example('{"messages":[]}'.encode("utf-32"))
@example(b"\0")
@example(b'{"messages":[]}\0')
@example(b"{'messages':[]}")
@example(b'{"messages":[]} {}')
@example(b'"\xff"')
@example(b"NaN")
def test_what_is_no_json_object_of_our_shape_is_a_problem_and_nothing_worse(raw):
    for reader in (STRICT, LENIENT):
        with pytest.raises((NotJson, Invalid)):
            reader.read(raw)


@given(alike)
@example({"messages": [{"address": "\ud800", "body": "\udc00"}]})
@example({"messages": [{"address": "a", "body": "b", "date": math.inf}]})
@example({"messages": [], "count": 2**63})
@example({"messages": [], "drafts": []})
def test_json_of_any_shape_is_a_value_or_a_problem(value):
    for raw in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        raw = raw.encode("utf-8", "surrogatepass")
        for reader in (STRICT, LENIENT):
            told = outcome(reader, raw)
            assert told == [] or all(fault.msg for fault in told)


def outcome(reader, raw):
    """The faults that are told; none where the bytes are a letter, or no JSON at all."""
    try:
        read = reader.read(raw)
    except NotJson:
        return []
    except Invalid as problem:
        return problem.errors or [None]
    return [] if isinstance(read, Letter) else [None]


@given(
    st.lists(st.builds(Inbound, address=st.text(), body=st.text(), date=st.integers()), max_size=5)
)
def test_both_roads_read_the_same(messages):
    texts = [
        {"address": mended(m.address), "body": mended(m.body), "date": m.date} for m in messages
    ]
    value = json.loads(json.dumps({"messages": texts}))
    try:
        fast = STRICT._decoder.decode(json.dumps(value).encode())
    except Exception:
        with pytest.raises(Invalid):
            STRICT.build(value)
    else:
        assert STRICT.build(value) == fast


def test_every_fault_is_listed_with_its_place():
    found = faults(
        STRICT,
        {
            "org_id": 7,
            "messages": [
                {"address": "a", "body": "b"},
                {"body": 5, "date": [], "sim_slot": True},
                "not an object",
                {"address": "x" * 257, "body": "b", "sim_number": 1, "id": {}},
            ],
            "drafts": [{"to": "nobody", "body": "", "sim": "none"}, {}],
            "sims": [{"slot": 16, "number": 5, "label": 5, "carrier": 5}],
            "count": "1",
        },
    )
    assert set(found) == {
        ("org_id",),
        ("messages", 1, "address"),
        ("messages", 1, "body"),
        ("messages", 1, "date"),
        ("messages", 1, "sim_slot"),
        ("messages", 2),
        ("messages", 3, "address"),
        ("messages", 3, "sim_number"),
        ("messages", 3, "id"),
        ("drafts", 0, "to"),
        ("drafts", 0, "body"),
        ("drafts", 0, "sim"),
        ("drafts", 1, "to"),
        ("drafts", 1, "body"),
        ("sims", 0, "slot"),
        ("sims", 0, "number"),
        ("sims", 0, "label"),
        ("sims", 0, "carrier"),
        ("count",),
    }
    assert found["messages", 1, "address"] == found["drafts", 1, "to"] == "is missing"
    told = [msg for loc, msg in found.items() if loc not in (("org_id",), ("count",))]
    assert all(msg.startswith("must ") or msg == "is missing" for msg in told)


def test_a_list_of_the_wrong_length_is_told_beside_the_faults_in_it():
    found = faults(STRICT, {"messages": [{}] + [json.loads(SMS)] * 5, "drafts": []})
    assert found[("messages",)] == "at most 5"
    assert ("messages", 0, "body") in found
    assert ("drafts",) in found


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_python_s_own_numbers_are_not_json(word):
    with pytest.raises(NotJson, match=word):
        STRICT.read(letter(f'{{"address":"a","body":"b","date":{word}}}'))


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 300, "9" * 5000, "-" + "9" * 5000])
def test_a_number_beyond_all_range_is_no_date_and_no_refusal(number):
    read = STRICT.read(letter(f'{{"address":"a","body":"b","date":{number},"id":{number}}}'))
    assert read.messages[0].device_ts is None


@pytest.mark.parametrize("number", ["1e400", "9" * 300, "9" * 5000, "-1", "1.5", "true", '"1"'])
def test_a_number_beyond_all_range_is_a_fault_where_one_is_needed(number):
    raw = b'{"messages":[],"sims":[{"slot":%s}]}' % number.encode()
    assert faults(STRICT, raw) == {("sims", 0, "slot"): "must be a slot from 0 to 15"}


def test_an_integral_float_is_an_integer():
    read = STRICT.read(b'{"messages":[],"count":3.0,"sims":[{"slot":1e0}]}')
    assert (read.count, read.sims[0].slot) == (3, 1)
    assert type(read.count) is int


@pytest.mark.parametrize("value", ["true", "false", '"1"', "1.5", "null", "[1]", "{}"])
def test_what_is_no_integer_is_a_fault(value):
    assert set(faults(STRICT, b'{"messages":[],"count":%s}' % value.encode())) == {("count",)}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (r"\ud800", "\ufffd"),
        (r"\udc00", "\ufffd"),
        (r"a\ud800b", "a\ufffdb"),
        (r"\ud800\ud800", "\ufffd\ufffd"),
        (r"\udc00\ud800", "\ufffd\ufffd"),
        (r"\ud83d\ude00", "\U0001f600"),
        (r"\ud800\ud83d\ude00", "\ufffd\U0001f600"),
        (r"\ufeffx\ud800", "\ufeffx\ufffd"),
        (r"\ufffe\ud800", "\ufffe\ufffd"),
    ],
)
def test_half_a_character_is_mended_where_an_sms_must_be_kept(text, kept):
    raw = letter(f'{{"address":"a","body":"{text}"}}')
    assert LENIENT.read(raw).messages[0].body == kept
    if kept != "\U0001f600":
        found = faults(STRICT, raw)
        assert found == {("messages", 0, "body"): "holds half of a character (a lone surrogate)"}


@given(st.text(st.characters()))
def test_a_mended_text_can_be_stored_and_keeps_what_was_whole(text):
    whole = mended(text)
    whole.encode()
    assert len(whole) <= len(text)
    assert whole == text or any(0xD800 <= ord(c) < 0xE000 for c in text)


def test_nul_is_read_and_left_to_the_types():
    assert LENIENT.read(letter(r'{"address":"a","body":"\u0000"}')).messages[0].body == "\0"
    raw = rb'{"messages":[],"drafts":[{"to":"12","body":"a\u0000"}]}'
    assert ("drafts", 0, "body") in faults(STRICT, raw)


def test_the_last_of_two_equal_keys_counts_on_both_roads():
    raw = b'{"messages":[],"count":%s,"count":2}'
    assert STRICT.read(raw % b"1").count == STRICT.read(raw % b"1.0").count == 2
    assert parsed(b'{"a":1,"a":2}') == {"a": 2}


def test_unknown_fields_are_ignored_on_both_roads():
    assert STRICT.read(b'{"messages":[],"new":{"x":[1]}}').count == 0
    assert STRICT.read(b'{"messages":[],"new":{"x":[1]},"count":1.0}').count == 1


@pytest.mark.parametrize("raw", [b"[]", b"1", b'"x"', b"null", b"true"])
def test_json_that_is_no_object_is_not_ours(raw):
    with pytest.raises(NotJson, match="must be a JSON object"):
        STRICT.read(raw)


def test_depth_is_bounded_where_it_is_read_slowly():
    nested = "[" * (DEPTH - 1) + "]" * (DEPTH - 1)
    assert parsed(b'{"x":%s}' % nested.encode())
    with pytest.raises(NotJson, match="deep"):
        parsed(b'{"x":[%s]}' % nested.encode())


def test_the_place_where_json_breaks_off_is_told():
    with pytest.raises(NotJson, match="line 1 column 14"):
        STRICT.read(b'{"messages":[')
    with pytest.raises(NotJson, match=r"not UTF-8 \(byte 4\)"):
        STRICT.read(b'{"a\xff":1}'.replace(b"a", b"ab"))


def test_a_record_that_judges_its_fields_together_says_so():
    assert faults(Reader(Pair), {"one": 1, "other": 2}) == {(): "send one or other, not both"}
    assert faults(Reader(Pair), {"one": 1.0, "other": "x"}).keys() == {("other",)}


def test_one_field_alone_that_a_record_refuses_is_named():
    assert faults(Reader(Pair), {"one": 13}) == {("one",): "must not be 13"}
    several = {"pairs": [{"one": 1}, {"one": 13}, {"one": 2, "other": 3}]}
    assert faults(Reader(Pairs), several) == {
        ("pairs", 1, "one"): "must not be 13",
        ("pairs", 2): "send one or other, not both",
    }
