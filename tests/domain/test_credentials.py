"""What an OrgId and a SecretKey look like, and what a request says of who is asking."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.domain.credentials import (
    Credentials,
    agreed,
    well_formed_org_id,
    well_formed_secret,
)
from smsd.domain.errors import Contradiction

SECRET = "correct-horse-battery"


@pytest.mark.parametrize("org_id", ["abc", "A-Z_09", "-" * 64, "___"])
def test_an_org_may_be_called_so(org_id):
    assert well_formed_org_id(org_id)
    assert Credentials(org_id, SECRET).faults() == []


@pytest.mark.parametrize(
    "org_id", ["", "ab", "a" * 65, "abc\n", "\nabc", "a b", "a.b", "äbc", "abc/", "abc\0", "٣٣٣"]
)
def test_an_org_may_not_be_called_so(org_id):
    assert not well_formed_org_id(org_id)
    assert [fault.loc for fault in Credentials(org_id, SECRET).faults()] == [["org_id"]]


@pytest.mark.parametrize(
    "secret", ["x" * 12, "x" * 50, "пароль-пароль", "😀" * 12, "with  two  spaces", "a/b?c#d%2Fe&f"]
)
def test_a_secret_may_look_so(secret):
    assert well_formed_secret(secret)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "x" * 11,
        "x" * 51,
        " " + SECRET,
        SECRET + " ",
        SECRET + "\u00a0",
        "\u3000" + SECRET,
        "tab\tin-the-middle",
        "nul\0in-the-middle",
        "line\nin-the-middle",
        "c1\u0085in-the-middle",
        "half\ud800a-character",
    ],
)
def test_a_secret_may_not_look_so(secret):
    assert not well_formed_secret(secret)
    assert [fault.loc for fault in Credentials("acme", secret).faults()] == [["secret_key"]]


@given(st.text())
def test_any_text_is_judged(text):
    assert well_formed_secret(text) in (True, False)
    assert well_formed_org_id(text) in (True, False)


def test_every_fault_is_told():
    assert [fault.loc for fault in Credentials().faults()] == [["org_id"], ["secret_key"]]


def test_a_secret_is_not_in_the_repr():
    assert SECRET not in repr(Credentials("acme", SECRET))


def test_the_same_value_in_two_places_is_one():
    assert agreed("org_id", ["acme", None, "acme"]) == "acme"
    assert agreed("org_id", [None, None]) is None


def test_two_different_values_contradict_and_neither_is_told():
    with pytest.raises(Contradiction) as caught:
        agreed("the secret", ["one-secret-here", "another-secret"])
    assert "the secret" in caught.value.detail
    assert "another-secret" not in caught.value.detail


def test_an_empty_value_contradicts_another():
    with pytest.raises(Contradiction):
        agreed("org_id", ["", "acme"])
