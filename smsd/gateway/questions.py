"""Asking people: an SMS goes out, and the first one that comes back from its number is the answer.

The question is a ticket like any other, committed whoever hangs up meanwhile. Waiting for the
answer is no more than reading: it may be cancelled, and taken up again by whoever has the ticket.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from smsd.domain.call_key import CallKey
from smsd.domain.errors import NotFound, StillAsking
from smsd.domain.lifecycle import UNSENT
from smsd.domain.records import Draft
from smsd.gateway.doorman import Caller
from smsd.gateway.hearing import Hearing
from smsd.gateway.outbox import Outbox
from smsd.store import tickets
from smsd.store.database import Database
from smsd.store.tickets import Heard, TicketSeen

#: After so many seconds whoever is told that a call still waits may ask again.
AGAIN = 5


class Question(NamedTuple):
    """A ticket that asks. ``replayed``: an earlier call has sent it."""

    ticket: int
    replayed: bool


class Answered(NamedTuple):
    """The ticket as it is now, and the JSON of the message that answers it, if one did."""

    ticket: TicketSeen
    reply: bytes | None


class Questions:
    """Sends questions and waits for what is answered."""

    def __init__(self, database: Database, outbox: Outbox, hearing: Hearing) -> None:
        self._database = database
        self._outbox = outbox
        self._hearing = hearing
        #: The fingerprints of calls that are under way, by org and key.
        self._under_way: dict[tuple[str, str], str] = {}

    @contextmanager
    def place(self, caller: Caller, key: CallKey | None) -> Iterator[None]:
        """Whoever asks is in it from the sending to the answer; raises `StillAsking` where the
        same call is under way on this node."""
        place = (caller.org_id, key.name if key else "")
        if key is None or self._under_way.get(place, key.fingerprint) != key.fingerprint:
            yield  # another call under this key is refused when it is sent
        elif place in self._under_way:
            raise StillAsking(retry_after=AGAIN)
        else:
            self._under_way[place] = key.fingerprint
            try:
                yield
            finally:
                del self._under_way[place]

    async def send(self, caller: Caller, draft: Draft, key: CallKey | None) -> Question:
        """Send the question; raises what `Outbox.accept` and `Outbox.accept_once` do."""
        if key is None:
            accepted = await self._outbox.accept(caller, [draft], lone=True)
        else:
            accepted = await self._outbox.accept_once(caller, [draft], key, lone=True)
        (result,) = accepted.results
        return Question(result.id, accepted.replayed)

    async def hear(self, caller: Caller, question: Question, seconds: float) -> Answered:
        """What is answered within so many seconds; sooner, where the ticket ends unsent. What an
        earlier call sent is not waited for.

        Raises `NotFound` where the ticket has been deleted, and what `Hearing.until` does.
        """
        org_id, id_ = caller.org_id, question.ticket
        with self._hearing.place():
            heard = await self._hearing.until(
                caller,
                0 if question.replayed else seconds,
                ("reply", id_),
                partial(tickets.reply, self._database, org_id, id_),
                _is_over,
                again=not question.replayed,
            )
            seen = await tickets.read(self._database, org_id, id_)
        if heard is None or seen is None:
            raise NotFound("The ticket of this question has been deleted.")
        return Answered(seen, heard.reply)


def _is_over(heard: Heard | None) -> bool:
    return heard is None or heard.reply is not None or heard.status in UNSENT
