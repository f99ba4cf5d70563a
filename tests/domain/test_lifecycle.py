"""The one table of a ticket's life is whole, and the docs draw what it says.

What Postgres makes of it: `test_lifecycle_in_postgres`.
"""

from __future__ import annotations

from typing import get_args
from xml.etree import ElementTree

from docs import draw
from smsd.domain.lifecycle import BIRTHS, RECEIVED, RESULTS, STATES, STEPS, UNSENT, Status

# -- the table itself ------------------------------------------------------------------------


def test_every_state_is_described_and_no_other():
    assert tuple(STATES) == get_args(Status)
    assert RECEIVED not in STATES
    assert set(BIRTHS) < set(STATES)


def test_every_step_joins_two_states_and_stands_there_once():
    arrows = [(step.leaves, step.enters) for step in STEPS]
    assert len(set(arrows)) == len(arrows)
    assert all(leaves in STATES and enters in STATES for leaves, enters in arrows)
    assert all(leaves != enters for leaves, enters in arrows)


def test_every_state_can_be_reached_and_every_ticket_can_end():
    reached = {"queued"}
    for _ in STATES:
        reached |= {step.enters for step in STEPS if step.leaves in reached}
    assert reached == set(STATES)
    assert all(any(s.leaves == state for s in STEPS) for state in ("queued", "sending"))


def test_final_states_never_change_but_for_a_success_that_is_heard_of_late():
    final = set(STATES) - {"queued", "sending"}
    assert [(s.leaves, s.enters) for s in STEPS if s.leaves in final] == [
        ("failed", "sent"),
        ("cancelled", "sent"),
        ("expired", "sent"),
        ("sent", "delivered"),
        ("failed", "delivered"),
        ("cancelled", "delivered"),
        ("expired", "delivered"),
    ]


def test_a_ticket_is_on_its_way_or_sent_or_ended_unsent():
    assert set(STATES) == UNSENT | {"queued", "sending", "sent", "delivered"}


def test_a_result_may_do_what_the_table_says_and_nothing_else():
    allowed = {
        ("queued", "sent"),
        ("queued", "failed"),
        ("sending", "sent"),
        ("sending", "failed"),
        ("failed", "sent"),
        ("queued", "expired"),
        ("sending", "expired"),
        ("expired", "sent"),
        ("cancelled", "sent"),
    }
    assert allowed == RESULTS


# -- the docs --------------------------------------------------------------------------------


def test_the_picture_in_the_docs_is_drawn_from_the_table():
    assert draw.PICTURE.read_text("utf-8") == draw.drawing(), "renew it: python docs/draw.py"


def test_the_picture_has_every_state_and_every_arrow_in_words():
    root = ElementTree.fromstring(draw.drawing())
    told = [
        " ".join("".join(part.itertext()) for part in text) or text.text for text in texts(root)
    ]
    assert sorted(told) == sorted([*STATES, *BIRTHS.values(), *(step.when for step in STEPS)])


def test_every_place_in_the_picture_is_one_of_a_state_or_an_arrow_of_the_table():
    assert draw.STATES_AT.keys() == STATES.keys()
    assert draw.BIRTHS_AT.keys() == BIRTHS.keys()
    assert draw.ROADS.keys() == {(leaves, enters) for leaves, enters, _ in draw.arrows()}


def texts(root: ElementTree.Element) -> list[ElementTree.Element]:
    return list(root.iter("{http://www.w3.org/2000/svg}text"))
