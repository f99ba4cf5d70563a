"""Who wants to hear nothing more says so in a word; how an org keeps to it.

The words are acted upon where an SMS is stored (``store/sql/messages.sql``), which knows the same;
a test holds the two together.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Scope = Annotated[
    Literal["org", "sim"],
    Meta(description="must be org (a STOP holds for all of it) or sim (for the SIM that heard it)"),
]
What = Literal["stopped", "started", "help"]

#: What each word does that is the whole text of an SMS, in any case, spaces around it aside.
WORDS: dict[str, What] = {
    **dict.fromkeys(("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"), "stopped"),
    **dict.fromkeys(("START", "UNSTOP"), "started"),
    "HELP": "help",
}

#: What may stand around a word, seen or unseen: blanks of every width, marks of direction.
BLANKS = (
    " \t\r\n\v\f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u200b\u200e\u200f\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
)

#: The error of a ticket to a number that has opted out.
OPTED_OUT = "opted_out"

Text = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=480,
        pattern=r"^[^\x00]+$(?!\n)",
        description="must be a text of 1 to 480 characters, or null for no answer",
    ),
]


class OptOuts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """For whom a STOP holds, and what is answered to each kind of word; None: nothing."""

    scope: Scope
    stopped: str | None = None
    started: str | None = None
    help: str | None = None

    def answer(self, what: What) -> str | None:
        """What is answered to words that do this."""
        return {"stopped": self.stopped, "started": self.started, "help": self.help}[what]


def says(text: str) -> What | None:
    """What an SMS of this text does; None: it is no word of these."""
    # The longest word has eleven letters; most texts need not be looked at closer.
    bare = text.strip(BLANKS)
    return WORDS.get(bare.upper()) if len(bare) <= 11 else None
