"""Frames, bodies and queries as nobody should send them, by the ten thousand: each is understood,
or refused with a `Problem`, and nothing else ever comes of it.

Good ones are broken in two ways: a value somewhere is exchanged for an odd one, or bytes are. What
is tried follows from a seed, which a failure shows; one of the seeds is new at every run.
"""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from smsd.domain.errors import BadFrame, Problem
from smsd.domain.query import MessageQuery
from smsd.domain.records import INT64, integer, readable
from smsd.phone.frames import GatewayFrame, decode, encode, told
from smsd.rest.body import Body
from smsd.rest.parameters import Parameters
from smsd.rest.request import Request
from smsd.rest.send import Outgoing
from smsd.rest.webhook import Delivery

EACH = 2500
SEEDS = [1, 2, secrets.randbelow(1 << 32)]
SMS = {"address": "+15550100001", "body": "hi", "date": 17, "sim_slot": 0, "sim_number": "+1555"}
SIM = {"slot": 0, "number": "+15550100002", "label": "SIM1", "carrier": "AT&T"}
FRAMES: list[Any] = [
    {"type": "auth", "org_id": "myorg", "secret_key": "my-secret-key-123", "device_id": "d"},
    {"type": "sims", "sims": [SIM, SIM]},
    {"type": "inbound", "message": {**SMS, "id": "7"}},
    {"type": "send_result", "id": 5, "success": True, "error": "x", "sent_at": 17, "ref": "ab"},
    {"type": "ping"},
]
DELIVERIES: list[Any] = [
    {"org_id": "myorg", "secret_key": "my-secret-key-123", "messages": [SMS, {**SMS, "id": 7}]}
]
ORDERS: list[Any] = [
    {"secret_key": "my-secret-key-123", "sim": 0, "to": "+15550100002", "body": "hi"},
    {"sim": "+1555", "messages": [{"to": "+1 (555) 01", "body": "a"}, {"to": "12", "body": "b"}]},
]
QUERY = [b"limit=5", b"since_id=0", b"order=desc", b"sim=%2B1555", b"address=x", b"before_id=9"]

#: In the place of a value; each as JSON that Python may not be able to write.
ODD = (
    *("null", "true", "false", "0", "-0", "-1", "1.5", "5.0", "1e400", "-1e400", "1E5", "NaN"),
    *("Infinity", "9" * 19, "9" * 5000, "-" + "9" * 400, '""', '"\\u0000"', '"\\ud800"'),
    *('"\\udc00\\ud800"', '"5"', '"٥"', '"' + "x" * 70_000 + '"', "[]", "{}", "[[]]", '{"a":{}}'),
    *(
        "[" * 40 + "]" * 40,
        "[" * 3000,
        '{"a":' * 3000,
        "01",
        "+1",
        "'x'",
        '"\n"',
        '"\\x"',
        "//",
        "",
    ),
)
BYTES = (b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", b'"', b"{", b"}", b"[", b"\\", b",", b":")
PERCENT = (b"%", b"%zz", b"%00", b"%ff", b"&", b"=", b"+", b";", b"\xff", b"9" * 400, b"-1", b"%F0")
MARK = "\x01odd\x01"


def exchanged(good: Any, chance: random.Random) -> bytes:
    """The same with one value, or one key, exchanged."""
    whole = json.loads(json.dumps(good))
    places = [(None, None), *_places(whole)]
    parent, key = chance.choice(places)
    if parent is None:
        return chance.choice(ODD).encode("utf-8", "surrogatepass")
    if chance.random() < 0.2 and isinstance(parent, dict):
        parent[MARK] = parent.pop(key)
    else:
        parent[key] = MARK
    return json.dumps(whole).replace(json.dumps(MARK), chance.choice(ODD)).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    within = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in list(within):
        yield value, key
        if isinstance(each, dict | list):
            yield from _places(each)


def garbled(raw: bytes, chance: random.Random, odd: tuple[bytes, ...]) -> bytes:
    """The same with some bytes lost, doubled, turned or put in."""
    for _ in range(chance.randint(1, 4)):
        at, to = sorted(chance.choices(range(len(raw) + 1), k=2))
        raw = chance.choice(
            (
                raw[:at] + raw[to:],
                raw[:to] + raw[at:],
                raw[:at] + raw[at:to][::-1] + raw[to:],
                raw[:at] + chance.choice(odd) + raw[at:],
                raw[:at] + chance.randbytes(3) + raw[at + 3 :],
            )
        )
    return raw


def broken(good: list[Any], seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    for at in range(EACH):
        one = chance.choice(good)
        if at % 2:
            yield exchanged(one, chance)
        else:
            yield garbled(json.dumps(one).encode(), chance, BYTES)


def outcomes(understand: Callable[[bytes], object], given: Iterator[bytes]) -> tuple[int, int]:
    """How many were understood, and how many refused; anything else is shown with its cause."""
    understood = refused = 0
    for raw in given:
        try:
            understand(raw)
            understood += 1
        except Problem:
            refused += 1
        except Exception as error:
            raise AssertionError(f"{type(error).__name__} for {raw[:300]!r}") from error
    return understood, refused


class Sheet:
    """As much of a request as its body needs."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def said(self, header: bytes) -> list[str]:
        return []


def body_reader(kind: Any, lenient: bool) -> Callable[[bytes], Any]:
    body: Body[Any] = Body(kind, lenient=lenient)
    return lambda raw: body.opened(cast(Request, Sheet(raw))).checked()


read_delivery, read_order = body_reader(Delivery, True), body_reader(Outgoing, False)


def frame(raw: bytes) -> None:
    try:
        decode(raw)
    except BadFrame as problem:
        encode(cast(GatewayFrame, told(problem)))
        raise


def delivery(raw: bytes) -> None:
    found = read_delivery(raw)
    for sms in found.messages:
        readable(sms.body or "").encode()
        date = integer(sms.date, INT64)
        assert date is None or date in INT64


def order(raw: bytes) -> None:
    found = read_order(raw)
    for draft in found.drafts:
        draft.body.encode()


@pytest.mark.parametrize("seed", SEEDS, ids=range(len(SEEDS)))
@pytest.mark.parametrize(
    ("understand", "good"),
    [(frame, FRAMES), (delivery, DELIVERIES), (order, ORDERS)],
    ids=["frames", "deliveries", "orders"],
)
def test_what_is_malformed_is_understood_or_refused(
    understand: Callable[[bytes], object], good: list[Any], seed: int
) -> None:
    for whole in good:
        understand(json.dumps(whole).encode())
    understood, refused = outcomes(understand, broken(good, seed))
    assert understood > EACH // 50  # some were broken where nobody looks
    assert refused > EACH // 4
    assert understood + refused == EACH


@pytest.mark.parametrize("seed", SEEDS, ids=range(len(SEEDS)))
def test_a_malformed_query_is_understood_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    read = Parameters(MessageQuery).read
    good = b"&".join(QUERY)
    read(good)
    understood, refused = outcomes(read, (garbled(good, chance, PERCENT) for _ in range(EACH)))
    assert min(understood, refused) > EACH // 50
