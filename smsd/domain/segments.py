"""How a text travels as SMS: in which alphabet, and cut into how many segments.

3GPP TS 23.038 has the alphabets, TS 23.040 the header that joins segments: it takes 6 of the 140
octets of each. One character that GSM-7 lacks makes the whole text UCS-2. A phone may cut
otherwise (a national language table, transliteration); nobody hears of that beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

Encoding = Literal["gsm7", "ucs2"]

#: TS 23.038 section 6.2.1 without the escape, and 6.2.1.1, whose characters take two septets.
BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = frozenset("\f^{}\\[~]|€")
GSM7 = BASIC | EXTENSION

#: Septets of one SMS alone, and of one of several; 16-bit units of the same.
SEPTETS, JOINED_SEPTETS = 160, 153
UNITS, JOINED_UNITS = 70, 67


class Cut(Struct, frozen=True):
    """How a text is sent. ``forced_by``: the first character that GSM-7 lacks; None: it has all."""

    encoding: Encoding
    segments: int
    forced_by: str | None = None


def cut(text: str) -> Cut:
    """How this text is sent."""
    foreign = next((char for char in text if char not in GSM7), None)
    if foreign is None:
        return Cut("gsm7", _segments(text, _septets, SEPTETS, JOINED_SEPTETS))
    return Cut("ucs2", _segments(text, _units, UNITS, JOINED_UNITS), foreign)


def _septets(char: str) -> int:
    return 2 if char in EXTENSION else 1


def _units(char: str) -> int:
    return 2 if char > "\uffff" else 1


def _segments(text: str, size: Callable[[str], int], alone: int, joined: int) -> int:
    """How many: a character is never cut, so a segment may have to end one place early."""
    sizes = list(map(size, text))
    if sum(sizes) <= alone:
        return 1
    segments, used = 1, 0
    for each in sizes:
        if used + each > joined:
            segments, used = segments + 1, 0
        used += each
    return segments
