"""Who waits for a commit: what they put in, and what they may hear, sooner or later.

How entries travel together is `smsd.store.batch`'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred

from smsd.domain.errors import Unavailable
from smsd.store.trouble import RETRY_AFTER

E = TypeVar("E")
A = TypeVar("A")
T = TypeVar("T")


class NotYetKnown(Unavailable):
    """Nobody knows yet whether this was stored: the database has not answered. Try again."""

    def __init__(self, truth: Deferred[list[Any]]) -> None:
        """``truth`` gives, some day, the answer in a list, empty where nothing was stored or the
        gateway ends before it knows; it never fails."""
        super().__init__(retry_after=RETRY_AFTER)
        self.truth = truth


class Patience(Protocol):
    """See `smsd.gateway.patience`."""

    @property
    def now(self) -> float:
        """A clock, in seconds."""

    async def insist(self, work: Callable[[], Awaitable[T]], *, late: float) -> T:
        """Try this again while it raises `Unavailable`, with pauses of at most ``late``."""


@dataclass(frozen=True, slots=True)
class Certainty(Generic[E, A]):
    """How a lane learns what became of entries that it wrote under a batch id: their answers, or
    None where nothing was stored and never will be."""

    recall: Callable[[Sequence[E], str], Awaitable[Sequence[A] | None]]
    patience: Patience


@dataclass(eq=False, slots=True)
class Waiter(Generic[E, A]):
    """An entry and who waits for its commit, or later for the ``truth`` of it."""

    entry: E
    org_id: str
    rows: int
    size: int
    answer: Deferred[A] = field(default_factory=Deferred)
    truth: Deferred[list[A]] | None = None

    def tell(self, answer: A) -> None:
        """It is stored."""
        if self.truth is None:
            self.answer.callback(answer)
        else:
            self.truth.callback([answer])

    def fail(self, why: Exception) -> None:
        """It is not."""
        if self.truth is None:
            self.answer.errback(why)
        else:
            self.truth.callback([])

    def doubt(self) -> None:
        """Nobody knows."""
        self.truth = Deferred()
        self.answer.errback(NotYetKnown(self.truth))
