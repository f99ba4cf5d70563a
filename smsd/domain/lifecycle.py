"""A ticket's life: its states and every step between them, as data (contract section 3).

The statements of ``store/sql/*.sql`` take these steps and no others, the constraint
``messages_lifecycle`` knows these states and no others, and the picture in ``docs/`` is drawn
from here; tests hold the four together.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Status = Literal["queued", "sending", "sent", "failed", "cancelled", "expired", "delivered"]


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
    "cancelled": "taken back by its org before it was sent",
    "expired": "the time was over by when its agent wanted it sent",
    "delivered": "the network reported that it arrived",
}

#: States in which, as far as is known, nobody got the SMS, and nobody will.
UNSENT: frozenset[Status] = frozenset({"failed", "cancelled", "expired"})

#: With which states a ticket may be stored, and when.
BIRTHS: dict[Status, str] = {
    "queued": "stored, to wait for its turn",
    "sending": "stored for a phone that has a place",
    "failed": "stored, and its number has opted out",
}

STEPS: tuple[Step, ...] = (
    Step("queued", "sending", "a session that serves it has a place"),
    Step("sending", "queued", "never given to the transport, or unconfirmed and to be resent"),
    Step("sending", "sent", "the phone confirmed"),
    Step("sending", "failed", "the phone failed or never answered, or the operator ended it"),
    Step("queued", "sent", "a late result, for an earlier push had gone out after all"),
    Step(
        "queued",
        "failed",
        "an earlier push had failed, it waited too long, its number opted out, or the operator "
        "ended it",
    ),
    Step("queued", "cancelled", "taken back, and surely at no phone"),
    Step("sending", "cancelled", "its phone was asked for it, and will never send it"),
    Step("queued", "expired", "its time was over"),
    Step("sending", "expired", "the phone dropped it, or it was to be pushed again too late"),
    Step("failed", "sent", "a late success, for the truth wins"),
    Step("cancelled", "sent", "a phone that had it had sent it after all"),
    Step("expired", "sent", "it went out in time, or too late"),
    Step("sent", "delivered", "the phone was told so"),
    Step("queued", "delivered", "reported of an earlier push, before its result"),
    Step("sending", "delivered", "reported before the result"),
    Step("failed", "delivered", "reported after all"),
    Step("cancelled", "delivered", "reported after all: it had gone out"),
    Step("expired", "delivered", "reported: it had gone out"),
)

#: What a phone's result may do.
RESULTS: frozenset[tuple[Status, Status]] = frozenset(
    (step.leaves, step.enters) for step in STEPS if step.enters in ("sent", "failed", "expired")
)
