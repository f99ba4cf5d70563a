"""Answers leave in the order in which the questions came, whichever is ready first.

While one cannot be answered, all later ones wait (contract section 4, ``inbound``).
"""

from __future__ import annotations

from collections.abc import Callable

from smsd.phone.frames import GatewayFrame


class Place:
    """One question's place in the order."""

    __slots__ = ("answer",)

    def __init__(self) -> None:
        self.answer: GatewayFrame | None = None


class InOrder:
    """Holds answers back until all earlier ones have left through ``send``."""

    def __init__(self, send: Callable[[GatewayFrame], None]) -> None:
        self._send = send
        self._places: list[Place] = []  # no deque: see smsd.phone.intake

    def __len__(self) -> int:
        return len(self._places)

    def expect(self) -> Place:
        """A place for the question that has just come."""
        place = Place()
        self._places.append(place)
        return place

    def answer(self, place: Place, frame: GatewayFrame) -> None:
        """The answer to that question is ready."""
        place.answer = frame
        while self._places and self._places[0].answer is not None:
            first = self._places.pop(0)
            assert first.answer is not None
            self._send(first.answer)
