"""Numbers are cleaned, compared and masked; a slot is told from a number."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.domain.numbers import DIALLABLE, address_key, clean, digits, masked, slot_of

PUNCTUATION = " .-()"
dialled = st.from_regex(r"\+?[0-9]{2,20}", fullmatch=True)


@st.composite
def punctuated(draw):
    """A number, and the same with punctuation strewn in."""
    number = draw(dialled)
    strewn = "".join(draw(st.text(PUNCTUATION, max_size=2)) + c for c in number)
    return number, strewn + draw(st.text(PUNCTUATION, max_size=2))


@given(punctuated())
def test_punctuation_makes_no_other_number(pair):
    number, strewn = pair
    assert clean(strewn) == number
    assert digits(strewn) == digits(number) == number.lstrip("+")
    assert address_key(strewn) == address_key(number) == number.lstrip("+")


@given(punctuated())
def test_a_punctuated_number_can_be_dialled(pair):
    assert re.search(DIALLABLE, pair[1])


@given(st.text())
def test_what_can_be_dialled_is_two_to_twenty_digits_when_cleaned(text):
    dialled = re.fullmatch(r"\+?[0-9]{2,20}", clean(text)) is not None
    assert (re.search(DIALLABLE, text) is not None) == dialled


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "+1",
        "1" * 21,
        "12\n",
        "\n12",
        "1+2",
        "++12",
        "12+",
        "12a",
        "١٢٣",
        "1\u00a02",
        "#31#",
    ],
)
def test_what_no_phone_can_dial_is_refused(text):
    assert re.search(DIALLABLE, text) is None


@given(st.text())
def test_digits_are_ascii_and_in_their_order(text):
    assert digits(text) == "".join(c for c in text if c in "0123456789")


@given(st.text())
def test_an_address_is_looked_up_by_something_that_looks_itself_up(address):
    key = address_key(address)
    assert address_key(key) == key
    assert len(key) <= 3 * len(address)


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("+1 (555) 123-4567", "15551234567"),
        ("15551234567", "15551234567"),
        (" 1555", "1555"),
        ("MyBank", "mybank"),
        (" MYBANK ", "mybank"),
        ("Bank 24", "bank 24"),
        ("", ""),
        ("---", "---"),
        ("+", "+"),
        ("1+2", "1+2"),
    ],
)
def test_a_number_is_looked_up_by_its_digits_and_a_name_in_small_letters(address, key):
    assert address_key(address) == key


@given(st.text())
def test_a_mask_shows_at_most_the_last_two_characters(number):
    mask = masked(number)
    assert len(mask) == len(number)
    assert mask[-2:] == number[-2:]
    assert set(mask[:-2]) <= {"*"}


@pytest.mark.parametrize("slot", range(16))
def test_zero_to_fifteen_is_a_slot(slot):
    assert slot_of(slot) == slot_of(str(slot)) == slot


@pytest.mark.parametrize(
    "sim", [-1, 16, 15551234567, "16", "99", "-1", "+1", " 1", "1 ", "1\n", "", "0x1", "١", "015"]
)
def test_anything_else_is_a_number(sim):
    assert slot_of(sim) is None
