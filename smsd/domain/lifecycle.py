"""A ticket's life: its states and every step between them, as data (contract section 3).

The statements of ``store/sql/messages.sql`` take these steps and no others, and the constraint
``messages_lifecycle`` knows these states and no others; tests hold the three together.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Status = Literal["queued", "sending", "sent", "failed"]


class Step(NamedTuple):
    """One arrow of a ticket's life, and what takes a ticket along it."""

    leaves: Status
    enters: Status
    when: str


#: An SMS that arrived has this status for good.
RECEIVED = "received"

#: The states of a ticket in the order of its life, and what each means.
STATES: dict[Status, str] = {
    "queued": "accepted and committed; waits for a phone, for a place or for older tickets",
    "sending": "given to a phone's session; its result is awaited",
    "sent": "the phone confirmed",
    "failed": "the phone reported a failure, or the ticket ended otherwise",
}

STEPS: tuple[Step, ...] = (
    Step("queued", "sending", "a session that serves it has a place"),
    Step("sending", "queued", "the frame was never given to the transport"),
    Step("sending", "sent", "the phone confirmed"),
    Step("sending", "failed", "the phone reported a failure, or never answered"),
    Step("queued", "sent", "a late result: an earlier push had gone out after all"),
    Step("queued", "failed", "a late result: an earlier push had failed"),
    Step("failed", "sent", "a late success: the truth wins"),
)

#: What a phone's result may do.
RESULTS: frozenset[tuple[Status, Status]] = frozenset(
    (step.leaves, step.enters) for step in STEPS if step.enters in ("sent", "failed")
)
