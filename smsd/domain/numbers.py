"""Telephone numbers: how they are cleaned, compared and kept out of logs.

Numbers are never parsed into countries here: the phone's network decides what a number means.
"""

from __future__ import annotations

import re

_PUNCTUATION = str.maketrans("", "", " .-()")
_NOT_DIGITS = re.compile(r"[^0-9]+")

#: What ``to`` may look like (contract section 2): 2-20 digits, punctuation ignored.
DIALLABLE = r"^[ .()\-]*\+?[ .()\-]*([0-9][ .()\-]*){2,20}$(?!\n)"

SLOTS = range(16)


def clean(number: str) -> str:
    """The number as it is dialled: without spaces, dots, dashes and parentheses."""
    return number.translate(_PUNCTUATION)


def digits(number: str) -> str:
    """What two spellings of one number have in common."""
    return _NOT_DIGITS.sub("", number)


def address_key(address: str) -> str:
    """What an address is looked up by: a number's digits, or a sender's name in small letters."""
    number = clean(address).removeprefix("+")
    return number if number.isascii() and number.isdigit() else address.strip().lower()


def masked(number: str) -> str:
    """A number for a log line: the last two characters, the rest struck out."""
    return "*" * max(0, len(number) - 2) + number[-2:]


def slot_of(sim: str | int) -> int | None:
    """The slot that ``sim`` names, 0-15, or None where it is a number (contract section 2)."""
    if isinstance(sim, int):
        return sim if sim in SLOTS else None
    return int(sim) if re.fullmatch(r"[0-9]{1,2}", sim) and int(sim) in SLOTS else None
