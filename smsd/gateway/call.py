"""What an agent hands in at once: its drafts, the places that they were promised, their rows.

`smsd.gateway.ticket_lane` stores it, and says when the promises are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from smsd.domain.call_key import CallKey
from smsd.domain.numbers import address_key, clean, digits
from smsd.domain.records import Draft, Ticket, Wish, new_ref
from smsd.domain.timing import Timing, timing
from smsd.gateway.dispatch import Dispatch
from smsd.gateway.promises import Offer
from smsd.store.messages import NewMessage


@dataclass(slots=True, eq=False)
class Call:
    """The offers and the rows are made when its statement goes out."""

    org_id: str
    drafts: Sequence[Draft]
    wishes: list[Wish]
    key: CallKey | None = None
    #: The API key of whoever hands it in; None: the secret.
    whose: str | None = None
    offers: list[Offer] = field(default_factory=list)
    rows: list[NewMessage] = field(default_factory=list)

    def promise(self, dispatch: Dispatch, now: float) -> None:
        """Have places promised, where there are any; what was promised before stands. ``now`` is
        in seconds since 1970."""
        if self.offers:
            return
        offer = dispatch.offer
        timings = [timing(draft, now) for draft in self.drafts]
        self.offers = [
            offer(self.org_id, wish, later=timing.send_at is not None)
            for wish, timing in zip(self.wishes, timings, strict=True)
        ]
        drafted = zip(self.drafts, self.wishes, self.offers, timings, strict=True)
        self.rows = [_row(self.org_id, *each) for each in drafted]
        for row in self.rows if self.whose is not None else ():
            row.key_id = self.whose
        if self.key is not None:
            for row in self.rows:
                row.call_key, row.fingerprint = self.key.name, self.key.fingerprint


def _row(org_id: str, draft: Draft, wish: Wish, offer: Offer, timing: Timing) -> NewMessage:
    to = clean(draft.to)
    row = NewMessage(
        org_id=org_id,
        status="queued",
        direction="out",
        address=to,
        address_key=address_key(to),
        body=draft.body,
        sim_slot=wish.slot,
        sim_number=wish.number,
        sim_digits=digits(wish.number) if wish.number else None,
        sim_asked=wish.text,
        sim_key=wish.key,
        ref=new_ref(),
        rank=-(draft.priority or 0),
        send_at=timing.send_at,
        expires_at=timing.expires_at,
        ttl=timing.ttl,
        receipt=draft.receipt or None,
    )
    if offer.visit is not None:
        served = offer.visit.serving(wish.key)
        row.status, row.attempts = "sending", 1
        row.session_id, row.phone_id = offer.visit.session_id, offer.visit.phone_id
        row.ledger = offer.visit.identity.keeps_ledger
        row.sim_slot = row.sim_slot if served.sim_slot is None else served.sim_slot
        row.sim_number = served.sim_number or row.sim_number
        row.sim_digits = served.sim_digits or row.sim_digits
    return row


def ticket_of(row: NewMessage, id_: int) -> Ticket:
    """The same row, which has been stored under this id."""
    return Ticket(
        org_id=row.org_id,
        id=id_,
        to=row.address,
        body=row.body,
        sim=row.sim_asked,
        ref=row.ref or "",
        attempt=1,
        expires_at=row.expires_at,
        receipt=row.receipt or False,
    )
