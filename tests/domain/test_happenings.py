"""Which events a reader may ask for, and that there is a type for each thing that happens."""

import pytest

from smsd.domain.errors import Invalid
from smsd.domain.happenings import TYPES, EventQuery
from smsd.domain.lifecycle import STATES
from smsd.rest.parameters import Parameters

QUERY = Parameters(EventQuery)


def test_every_state_of_a_ticket_is_a_type():
    assert {f"ticket.{status}" for status in STATES} <= set(TYPES)
    assert len(set(TYPES)) == len(TYPES)


def test_a_reader_may_ask_for_nothing_in_particular():
    query = QUERY.read(b"")
    assert (query, query.kinds) == (EventQuery(), None)


def test_the_order_in_which_types_are_named_makes_no_difference():
    asked = b"types=ticket.sent,message.received,ticket.sent&since=07&direction=in&sim=3&address=A"
    query = QUERY.read(asked)
    assert query.kinds == ("message.received", "ticket.sent")
    assert (query.since, query.direction, query.sim, query.address) == (7, "in", "3", "A")


@pytest.mark.parametrize("type_", TYPES)
def test_every_type_can_be_asked_for(type_):
    assert QUERY.read(f"types={type_}".encode()).kinds == (type_,)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("types=", "types"),
        ("types=message.sent", "types"),
        ("types=ticketXsent", "types"),
        ("types=ticket.sent,", "types"),
        ("types=ticket.sent,%0a", "types"),
        ("types=ticket.sent%0a", "types"),
        ("types=ticket.sent, phone.online", "types"),
        ("since=-1", "since"),
        ("since=1000000000000000001", "since"),
        ("since=newest", "since"),
        ("direction=both", "direction"),
        ("address=", "address"),
    ],
)
def test_what_cannot_be_asked_for_is_told(asked, name):
    with pytest.raises(Invalid) as refused:
        QUERY.read(asked.encode())
    assert [fault.loc for fault in refused.value.errors] == [[name]]
    assert refused.value.errors[0].msg.startswith("must be ")
