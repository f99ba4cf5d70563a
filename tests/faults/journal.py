"""What was handed to the gateway, how each call ended, and what phones then did.

A call ends as ``ok`` (acknowledged), ``refused`` (4xx: nothing was stored) or ``unknown`` (503, a
broken connection, no answer in time: it may have been stored or not). Nothing is judged here.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

OK, REFUSED, UNKNOWN = "ok", "refused", "unknown"
#: How tickets come, and how SMS that arrived do.
OUTBOUND = ("send", "batch", "ask")
INBOUND = ("webhook", "socket", "claim")


@dataclass(slots=True)
class Text:
    """One SMS that somebody handed in; its words occur nowhere else."""

    org_id: str
    way: str
    #: It carries an id and is handed in again until it is acknowledged.
    keyed: bool = False
    attempts: int = 0
    acknowledged: int = 0
    #: The ticket's id, once acknowledged.
    ticket: int | None = None
    #: The same call was answered once more, with another ticket.
    two_answers: bool = False
    #: The gateway said that it is cancelled.
    cancelled: bool = False
    #: Its number had said STOP before it was handed in.
    barred: bool = False


@dataclass(frozen=True, slots=True)
class Push:
    """A ``send_sms`` frame that reached a phone."""

    words: str
    phone: str


@dataclass
class Round:
    """Everything that happened between two checks."""

    texts: dict[str, Text] = field(default_factory=dict)
    #: By org and ticket.
    pushes: dict[tuple[str, int], list[Push]] = field(default_factory=lambda: defaultdict(list))
    #: Which phones handed these words to the radio.
    radioed: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    #: Of these, what the phones then reported as sent.
    confirmed: set[str] = field(default_factory=set)
    #: Tickets of which phones then reported that they arrived.
    reported: set[tuple[str, int]] = field(default_factory=set)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: Questions of which the answer came back.
    replies: int = 0
    #: Answers that no client should ever get, in words.
    wrong: Counter[str] = field(default_factory=Counter)
    #: Pushes whose row was looked for at once, and those that had none.
    witnessed: int = 0
    premature: int = 0
    #: Ids of the events that an org's reader heard, and those that came once more or too late.
    heard: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    misplaced: list[tuple[str, int, int]] = field(default_factory=list)
    #: Ids of the events that each hook's endpoint took, those that were first posted to it after a
    #: later one, and posts by what came of them: taken, refused.
    taken: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    overtaken: list[tuple[str, int, int]] = field(default_factory=list)
    posts: Counter[str] = field(default_factory=Counter)
    #: Seconds from a kill to the first request that was accepted.
    restarts: list[float] = field(default_factory=list)
    #: Seconds that an orderly stop took.
    stops: list[float] = field(default_factory=list)
    slowest: float = 0.0


class Journal:
    """Kept by everybody who deals with the gateway from outside."""

    def __init__(self) -> None:
        self.now = Round()
        self._last_words = 0
        self._down_since: float | None = None
        self._timed = False
        self.serving = asyncio.Event()

    def begin(self) -> None:
        """A new round."""
        self.now = Round()

    def words(self, mark: str = "") -> str:
        """A text that nobody used before."""
        self._last_words += 1
        return f"t{self._last_words}{mark}"

    # -- calls --

    def hand_in(self, way: str, org_id: str, words: list[str], keyed: bool) -> None:
        """These texts are being handed in, for the first time or again."""
        for each in words:
            text = self.now.texts.setdefault(each, Text(org_id, way, keyed))
            text.attempts += 1

    def end(self, way: str, outcome: str, began: float) -> None:
        """A call has ended."""
        self.now.calls[way, outcome] += 1
        if way not in ("socket", "ask"):  # there one waits for a phone, or for a person, too
            self.now.slowest = max(self.now.slowest, time.monotonic() - began)
        if outcome == OK and self._down_since is not None and began > self._down_since:
            if self._timed:
                self.now.restarts.append(time.monotonic() - self._down_since)
            self._down_since = None
            self.serving.set()

    def acknowledge(self, words: str, ticket: int | None = None) -> None:
        """The gateway said that this text is safe."""
        text = self.now.texts.get(words)
        if text is not None:
            text.acknowledged += 1
            text.two_answers |= text.ticket not in (None, ticket)
            text.ticket = ticket

    def cancelled(self, words: str) -> None:
        """The gateway said that this ticket will not be sent."""
        text = self.now.texts.get(words)
        if text is not None:
            text.cancelled = True

    def bar(self, org_id: str, words: str) -> None:
        """This ticket is about to be handed in, and must reach no phone."""
        self.now.texts[words] = Text(org_id, "send", keyed=True, barred=True)

    def replied(self, *, right: bool) -> None:
        """A question was answered, with its own answer or with another."""
        self.now.replies += 1
        if not right:
            self.complain("the answer to another question")

    def complain(self, about: str) -> None:
        """Something came that must never come."""
        self.now.wrong[about] += 1

    def heard(self, org_id: str, event: int, *, after: int) -> None:
        """A reader was told of an event, after this one."""
        self.now.heard[org_id].add(event)
        if event <= after:
            self.now.misplaced.append((org_id, event, after))

    def posted(self, hook: str, event: int, *, taken: bool, after: int) -> None:
        """An endpoint was told of an event; the latest that it knew is ``after``, where this one
        came for the first time."""
        self.now.posts["taken" if taken else "refused"] += 1
        if taken:
            self.now.taken[hook].add(event)
        if event < after:
            self.now.overtaken.append((hook, event, after))

    # -- the gateway's life --

    def down(self, *, killed: bool = True) -> None:
        """The gateway does not serve from now on. Only after a kill its absence is timed."""
        self._down_since = time.monotonic()
        self._timed = killed
        self.serving.clear()

    def stopped(self, seconds: float) -> None:
        """An orderly stop has taken so long."""
        self.now.stops.append(seconds)

    # -- phones --

    def push(self, org_id: str, ticket: int, words: str, phone: str) -> None:
        """A phone was given a ticket."""
        self.now.pushes[org_id, ticket].append(Push(words, phone))

    def radio(self, words: str, phone: str) -> None:
        """A phone hands an SMS to its radio: it cannot be taken back."""
        self.now.radioed[words].append(phone)

    def reported(self, org_id: str, ticket: int) -> None:
        """A phone knows that what it sent arrived, and says so."""
        self.now.reported.add((org_id, ticket))
