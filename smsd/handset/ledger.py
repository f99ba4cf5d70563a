"""The ledger of a phone: what it must not forget, as a pure fold over lines.

A phone that says ``ledger=1`` promises (contract section 3) that no ticket is sent twice. It
keeps that promise by order alone:

1. ``taken`` is written down, and is on the disk, *before* the radio gets the SMS;
2. ``answered`` is written down before the gateway is told what happened;
3. a ``ref`` that is in the ledger never reaches the radio again: its answer is repeated;
4. the answer is repeated on every new connection until the gateway has acknowledged it.

Between 1 and 2 there is a gap that no order can close. A phone that dies in it cannot know
whether the SMS left the antenna, so it has to choose between at most once and at least once.
This one chooses **at most once**: after the restart the ticket is answered as failed, in words
that say it may have been sent. (A real phone would first look into its own "sent" folder.)

SMS that were received are kept here too, until the gateway has answered for them.

Nothing here opens a file or looks at a clock: `smsd.handset.ledger_file` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from msgspec import Struct

from smsd.domain.records import Inbound
from smsd.phone.frames import SendResult

#: Lines stay at least this long, and until their answer is acknowledged (contract section 3).
KEPT_MS = 30 * 24 * 3600 * 1000
INTERRUPTED = "the phone stopped while sending: it may have been sent, and is not sent again"


class Owner(Struct, frozen=True, tag="owner", kw_only=True):
    """Whose ledger this is. The last such line counts."""

    org_id: str
    device_id: str | None
    number: str


class Taken(Struct, frozen=True, tag="taken"):
    """A ticket is about to be handed to the radio. ``at`` is in Unix milliseconds."""

    ref: str
    id: int
    at: int


class Answered(Struct, frozen=True, tag="answered", omit_defaults=True):
    """What the radio made of it: ``sent_at`` in Unix milliseconds, or an error."""

    ref: str
    sent_at: int | None = None
    error: str | None = None


class GivenBack(Struct, frozen=True, tag="given_back"):
    """The gateway asked for it in time: it was not sent, and never will be."""

    ref: str


class Acknowledged(Struct, frozen=True, tag="acknowledged"):
    """The gateway has committed the answer; it need not be repeated."""

    ref: str


class Heard(Struct, frozen=True, tag="heard"):
    """An SMS arrived over the air."""

    message: Inbound


class Settled(Struct, frozen=True, tag="settled"):
    """The gateway has answered for that SMS: stored, or never to be stored."""

    id: str


Entry = Owner | Taken | Answered | GivenBack | Acknowledged | Heard | Settled


@dataclass(slots=True)
class Line:
    """All that is known of one ticket."""

    taken: Taken
    answer: Answered | None = None
    acknowledged: bool = False
    given_back: bool = False

    @property
    def result(self) -> SendResult | None:
        """The answer as the gateway wants it, or None while the radio is at it."""
        if self.answer is None:
            return None
        return SendResult(
            id=self.taken.id,
            success=self.answer.error is None,
            error=self.answer.error,
            sent_at=self.answer.sent_at,
            ref=self.taken.ref,
        )

    def needed(self, now: int) -> bool:
        ended = self.acknowledged or self.given_back
        return not ended or self.taken.at > now - KEPT_MS

    def entries(self) -> Iterator[Entry]:
        yield self.taken
        if self.answer is not None:
            yield self.answer
        if self.given_back:
            yield GivenBack(self.taken.ref)
        if self.acknowledged:
            yield Acknowledged(self.taken.ref)


class Ledger:
    """What the entries so far add up to. `apply` is the only way in which it changes."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.owner: Owner | None = None
        self.inbound: dict[str, Inbound] = {}
        self._lines: dict[str, Line] = {}
        for entry in entries:
            self.apply(entry)

    def apply(self, entry: Entry) -> None:
        """Raises KeyError for an answer to a ticket that was never taken."""
        match entry:
            case Owner():
                self.owner = entry
            case Taken(ref=ref):
                self._lines[ref] = Line(entry)
            case Answered(ref=ref):
                self._lines[ref].answer = entry
            case GivenBack(ref=ref):
                self._lines[ref].given_back = True
            case Acknowledged(ref=ref):
                self._lines[ref].acknowledged = True
            case Heard(message=message):
                self.inbound[str(message.id)] = message
            case Settled(id=message_id):
                self.inbound.pop(message_id, None)

    def line(self, ref: str) -> Line | None:
        return self._lines.get(ref)

    def line_of(self, ticket: int) -> Line | None:
        """What is known of the ticket with this id."""
        return next((line for line in self._lines.values() if line.taken.id == ticket), None)

    def unacknowledged(self, ticket: int | None = None) -> list[SendResult]:
        """The answers that the gateway has not confirmed yet, of one ticket or of all."""
        return [
            result
            for line in self._lines.values()
            if not line.acknowledged and (result := line.result) is not None
            if ticket is None or result.id == ticket
        ]

    def close_the_gap(self) -> None:
        """To be called once after a restart: what was at the radio then is not known now."""
        for ref, line in self._lines.items():
            if line.answer is None and not line.given_back:
                self.apply(Answered(ref, error=INTERRUPTED))

    def needed(self, now: int) -> Iterator[Entry]:
        """The fewest entries that say all that still has to be known."""
        if self.owner is not None:
            yield self.owner
        for line in self._lines.values():
            if line.needed(now):
                yield from line.entries()
        for message in self.inbound.values():
            yield Heard(message)
