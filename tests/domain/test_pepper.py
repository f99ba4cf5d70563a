"""Fingerprints of secrets differ by org, secret and pepper, and give nothing away."""

from hypothesis import given
from hypothesis import strategies as st

from smsd.domain.pepper import Pepper, same

KEY, OTHER = b"k" * 32, b"o" * 32
SECRET = "correct-horse-battery"


def test_one_secret_has_one_fingerprint():
    assert Pepper(KEY).seal("acme", SECRET) == Pepper(KEY).seal("acme", SECRET)
    assert len(Pepper(KEY).seal("acme", SECRET)) == 32


def test_another_org_secret_or_pepper_makes_another_fingerprint():
    seals = [
        Pepper(KEY).seal("acme", SECRET),
        Pepper(KEY).seal("acm", "e" + SECRET),
        Pepper(KEY).seal("other", SECRET),
        Pepper(KEY).seal("acme", SECRET + "x"),
        Pepper(OTHER).seal("acme", SECRET),
    ]
    assert len(set(seals)) == len(seals)


@given(st.text(), st.text(st.characters()))
def test_any_text_has_a_fingerprint(org_id, secret):
    assert len(Pepper(KEY).seal(org_id, secret)) == 32


def test_half_a_character_has_a_fingerprint_too():
    assert len(Pepper(KEY).seal("acme", "\ud800")) == 32


def test_a_pepper_is_known_by_an_id_that_does_not_give_it_away():
    assert Pepper(KEY).id == Pepper(KEY).id != Pepper(OTHER).id
    assert len(Pepper(KEY).id) == 16
    assert KEY.hex() not in Pepper(KEY).id
    assert "kkkk" not in repr(Pepper(KEY))


def test_fingerprints_are_compared():
    seal = Pepper(KEY).seal("acme", SECRET)
    assert same(seal, bytes(seal))
    assert not same(seal, Pepper(OTHER).seal("acme", SECRET))
    assert not same(seal, None)
