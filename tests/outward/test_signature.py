"""Signatures, as an independent implementation of Standard Webhooks reads them."""

from __future__ import annotations

import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from smsd.outward.signature import key_of, new_secret, signed

BODY = '{"type":"message.received","data":{"body":"Grüße \\u0000"}}'.encode()


def secret(letter: bytes, count: int = 32) -> str:
    return new_secret(lambda _: letter * count)


def test_a_signature_is_good_for_whoever_has_the_secret() -> None:
    headers = signed("evt_7", int(time.time()), BODY, [secret(b"a")])
    assert Webhook(secret(b"a")).verify(BODY, headers)["type"] == "message.received"
    assert headers["webhook-id"] == "evt_7"


def test_during_a_rotation_both_secrets_are_good_and_no_third() -> None:
    headers = signed("evt_7", int(time.time()), BODY, [secret(b"a"), secret(b"b")])
    for good in (secret(b"a"), secret(b"b")):
        Webhook(good).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret(b"c")).verify(BODY, headers)


@pytest.mark.parametrize("what", ["webhook-id", "webhook-timestamp", "body"])
def test_nothing_that_is_signed_can_be_changed(what: str) -> None:
    headers = signed("evt_7", int(time.time()), BODY, [secret(b"a")])
    body = BODY + b" " if what == "body" else BODY
    if what != "body":
        headers[what] = {"webhook-id": "evt_8"}.get(what, str(int(time.time()) - 1))
    with pytest.raises(WebhookVerificationError):
        Webhook(secret(b"a")).verify(body, headers)


def test_a_new_secret_is_32_bytes_of_the_chance_that_it_is_given() -> None:
    asked: list[int] = []

    def chance(count: int) -> bytes:
        asked.append(count)
        return bytes(range(count))

    assert key_of(new_secret(chance)) == bytes(range(32))
    assert asked == [32]


@pytest.mark.parametrize("length", [24, 64])
def test_secrets_from_24_to_64_bytes_are_secrets(length: int) -> None:
    assert len(key_of(secret(b"a", length))) == length


@pytest.mark.parametrize(
    "text",
    [
        "whsec_",
        "whsec_short",
        secret(b"a", 23),
        secret(b"a", 65),
        secret(b"a").removeprefix("whsec_"),
        secret(b"a") + "\n",
        secret(b"a")[:-1],
        "whsec_" + "ä" * 32,
    ],
    ids=["empty", "short", "23", "65", "bare", "newline", "unpadded", "letters"],
)
def test_what_is_no_secret_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(ValueError, match="must be whsec_ and the base64 of 24 to 64 bytes"):
        key_of(text)
