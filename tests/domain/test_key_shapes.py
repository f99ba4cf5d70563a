"""What a key looks like, and what it is good for."""

from __future__ import annotations

import hashlib

import pytest

from smsd.domain.errors import MissingScope
from smsd.domain.keys import SCOPES, Key, fingerprint, looks_like_key

TEXT = "smsd_" + "aB3-_" * 8 + "xyz"


def test_a_key_is_known_by_its_sha_256() -> None:
    assert fingerprint(TEXT) == hashlib.sha256(TEXT.encode()).hexdigest()


@pytest.mark.parametrize(
    "text", ["", "smsd_", TEXT[:-1], TEXT + "a", TEXT + "\n", f"{TEXT[:-1]}+", "SMSD_" + TEXT[5:]]
)
def test_what_can_be_no_key_has_none(text: str) -> None:
    assert fingerprint(text) is None


def test_half_a_character_is_no_key_and_no_error() -> None:
    assert fingerprint(TEXT[:-1] + "\ud800") is None


def test_what_was_meant_as_a_key_is_told_from_other_tokens() -> None:
    assert looks_like_key(TEXT)
    assert looks_like_key("smsd_wrong")
    assert not looks_like_key("eyJhbGciOi.a-proxy's.own")


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_is_good_for_its_scopes_and_a_refusal_names_what_is_missing(scope) -> None:
    Key("myorg", "1", (scope,)).require((scope,))
    others = tuple(each for each in SCOPES if each != scope)
    with pytest.raises(MissingScope, match=f"lacks the scope {scope}; it has {', '.join(others)}"):
        Key("myorg", "1", others).require((scope,))


def test_of_several_scopes_each_is_needed() -> None:
    with pytest.raises(MissingScope) as refused:
        Key("myorg", "1", ("send",)).require(("send", "read", "hooks"))
    assert refused.value.scopes == ["read", "hooks"]
    assert str(refused.value) == "This key lacks the scopes read and hooks; it has send."


def test_no_key_opens_what_only_the_secret_does() -> None:
    with pytest.raises(MissingScope, match="takes the SecretKey") as refused:
        Key("myorg", "1", SCOPES).require(None)
    assert refused.value.scopes == ()
