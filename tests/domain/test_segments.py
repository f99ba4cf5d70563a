"""Alphabets and segments, beside a package that others wrote."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from smsutil import split
from smsutil.codecs import is_valid_gsm

from smsd.domain.segments import BASIC, EXTENSION, GSM7, Cut, cut

#: The escape is no character of its own; the other package takes it for one.
ESCAPE = "\x1b"
gsm7 = st.text(sorted(GSM7), min_size=1, max_size=700)
anything = st.text(
    st.one_of(
        st.sampled_from("aé€😀ж"),
        st.characters(exclude_categories=["Cs"], exclude_characters=ESCAPE),
    ),
    min_size=1,
    max_size=700,
)


def theirs(text: str) -> tuple[str, int]:
    found = split(text)
    return {"gsm0338": "gsm7", "utf_16_be": "ucs2"}[found.encoding], len(found.parts)


@given(st.one_of(gsm7, anything))
@example("a" * 152 + "€" + "a" * 10)
@example("ж" * 66 + "😀" * 40)
def test_a_text_is_cut_as_others_cut_it(text: str) -> None:
    found = cut(text)
    assert (found.encoding, found.segments) == theirs(text)


def test_the_alphabet_is_the_one_that_others_know() -> None:
    found = {char for char in map(chr, range(0xD800)) if char != ESCAPE and is_valid_gsm(char)}
    assert found == GSM7
    assert (len(BASIC), len(EXTENSION)) == (127, 10)
    assert not BASIC & EXTENSION


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        # 153 is odd: the 77th pair would be cut, so the first segment ends a place early.
        ("€" * 152, 2),
        ("€" * 153, 3),
        ("a" * 1600, 11),
    ],
)
def test_a_pair_of_septets_is_not_cut(text: str, segments: int) -> None:
    assert cut(text) == Cut("gsm7", segments)


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("ж" * 70, 1),
        ("ж" * 71, 2),
        ("ж" * 134, 2),
        ("ж" * 135, 3),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("😀" * 66, 2),
        ("😀" * 67, 3),
    ],
)
def test_a_surrogate_pair_is_not_cut(text: str, segments: int) -> None:
    assert cut(text) == Cut("ucs2", segments, text[0])


def test_the_first_character_that_gsm7_lacks_is_named() -> None:
    assert cut("5 € for a “thing” – now") == Cut("ucs2", 1, "“")
    assert cut(ESCAPE) == Cut("ucs2", 1, ESCAPE)
