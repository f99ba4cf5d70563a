"""From a phone's words to what the database can hold: never refused for a value, only mended."""

from __future__ import annotations

from smsd.domain.records import INT64, WORDS_LENGTH, Delivery, Result, Sim, integer, readable
from smsd.phone.frames import DeliveryReport, SendResult

#: Ids that a ticket may have.
TICKETS = range(1, INT64.stop)
#: Times that Postgres can hold and that a phone can mean: the years 1970 to 9999, in ms.
SENT_AT = range(253_402_300_800_000)


def result(org_id: str, frame: SendResult) -> Result:
    """What a phone of the org says became of a ticket."""
    return Result(
        org_id=org_id,
        id=frame.id,
        success=frame.success,
        error=_words(frame.error),
        sent_at=integer(frame.sent_at, SENT_AT),
        ref=_words(frame.ref),
    )


def delivery(org_id: str, frame: DeliveryReport) -> Delivery:
    """What a phone of the org was told of a ticket that it sent."""
    return Delivery(
        org_id=org_id,
        id=frame.id,
        delivered=frame.delivered,
        error=_words(frame.error),
        at=integer(frame.at, SENT_AT),
        ref=_words(frame.ref),
    )


def storable(sim: Sim) -> Sim:
    """The SIM as Postgres can hold it."""
    return Sim(
        slot=sim.slot,
        number=_words(sim.number),
        label=_words(sim.label),
        carrier=_words(sim.carrier),
        pace=sim.pace,
    )


def _words(given: str | None) -> str | None:
    return readable(given)[:WORDS_LENGTH] if given else None
