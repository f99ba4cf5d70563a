"""How many segments a SIM may send in how long, and when the next one may go.

A window slides: at no moment have more than so many segments gone in the seconds before it. A
burst is a window too, so short that what goes beyond it has to be spaced. Of all windows of a SIM
the tightest decides. Values and arithmetic only: what was sent is an argument, as is the time.
Whose turn it is where several want to send is `smsd.domain.rounds`'.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

#: Bounds of what may be set: segments of a window, its seconds (31 days), windows beside the three
#: that have a name.
SEGMENTS, SECONDS, WINDOWS = 10_000, 2_678_400, 8
MINUTE, HOUR, DAY = 60, 3_600, 86_400

Segments = Annotated[
    int,
    Meta(ge=1, le=SEGMENTS, description=f"must be a whole number of segments from 1 to {SEGMENTS}"),
]
Seconds = Annotated[
    int,
    Meta(ge=1, le=SECONDS, description=f"must be a whole number of seconds from 1 to {SECONDS}"),
]


class Window(Struct, frozen=True):
    """At most so many segments in any so many seconds."""

    segments: Segments
    seconds: Seconds


Windows = Annotated[
    list[Window],
    Meta(max_length=WINDOWS, description=f"must be a list of at most {WINDOWS} windows"),
]


class Pace(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a SIM may send, in segments: the windows that have a name, others, and how many may go
    at once before they are spaced by the shortest of them. Nothing given is no limit."""

    max_per_minute: Segments | None = None
    max_per_hour: Segments | None = None
    max_per_day: Segments | None = None
    windows: Windows = []
    burst: Segments | None = None

    def __post_init__(self) -> None:
        if self.burst is not None and not self.limits:
            raise ValueError(
                "burst spaces what a limit allows: give max_per_minute, max_per_hour, max_per_day "
                "or windows beside it"
            )

    @property
    def limits(self) -> tuple[Window, ...]:
        """Every window, without what the burst adds."""
        named = ((self.max_per_minute, MINUTE), (self.max_per_hour, HOUR), (self.max_per_day, DAY))
        return (*(Window(most, long) for most, long in named if most), *self.windows)

    @property
    def spans(self) -> tuple[Span, ...]:
        """All that has to be kept to."""
        limits = self.limits
        spans = tuple(Span(window.segments, float(window.seconds)) for window in limits)
        if self.burst is None:
            return spans
        first = min(limits, key=lambda window: (window.seconds, window.segments))
        spacing = first.seconds / first.segments
        return (*spans, Span(self.burst, self.burst * spacing))


class Span(NamedTuple):
    """A window, of any length: at most so many segments in any so many seconds."""

    segments: int
    seconds: float


class Use(NamedTuple):
    """So many segments were handed out then. Seconds since 1970."""

    at: float
    segments: int


class Left(Struct, frozen=True):
    """A window, and how many segments it has left now."""

    segments: int
    seconds: int | float
    left: int


class Meter:
    """One SIM at one moment: what it may send, and what it was given in the time that counts."""

    def __init__(self, spans: Iterable[Span], uses: Sequence[Use], now: float) -> None:
        """``uses`` are in the order of their time."""
        self._spans = tuple(dict.fromkeys(spans))
        self._uses = list(uses)
        self._now = now
        #: What was handed out before each use, and in all.
        *self._before, self._total = accumulate((use.segments for use in uses), initial=0)
        self._used = {span: self._sum(span) for span in self._spans}

    @property
    def left(self) -> int:
        """How many segments may go now; all windows have this many at least."""
        return min((max(0, span.segments - used) for span, used in self._used.items()), default=0)

    @property
    def windows(self) -> list[Left]:
        """How much of each window is left."""
        return [
            Left(span.segments, _short(span.seconds), max(0, span.segments - used))
            for span, used in self._used.items()
        ]

    def opens(self, segments: int = 1) -> float:
        """From when on so many may go, now at the earliest. Of a text that is longer than a window
        allows the window must be empty: it goes as a whole, or never would."""
        return max((self._opens(span, segments) for span in self._spans), default=self._now)

    def take(self, segments: int) -> None:
        """So many go now."""
        self.take_at(self._now, segments)

    def take_at(self, at: float, segments: int) -> None:
        """So many will go then, later than all that was taken."""
        self._uses.append(Use(at, segments))
        self._before.append(self._total)
        self._total += segments
        for span in self._used:
            self._used[span] += segments

    def _opens(self, span: Span, segments: int) -> float:
        room = max(0, span.segments - segments)
        if self._used[span] <= room:
            return self._now
        # The last use which, with all after it, is too much: when it counts no more, it is not.
        last = bisect_left(self._before, self._total - room) - 1
        return max(self._now, self._uses[last].at + span.seconds)

    def _sum(self, span: Span) -> int:
        now, long = self._now, span.seconds
        return sum(use.segments for use in self._uses if use.at + long > now)


def _short(seconds: float) -> int | float:
    return int(seconds) if seconds.is_integer() else seconds


def horizon(spans: Iterable[Span]) -> float:
    """For how many seconds a use counts."""
    return max((span.seconds for span in spans), default=0.0)
