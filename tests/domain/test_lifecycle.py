"""The one table of a ticket's life is whole, and the docs draw what it says.

What Postgres makes of it: `test_lifecycle_in_postgres`.

``python tests/domain/test_lifecycle.py`` draws the picture in ``docs/tickets.md`` anew.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from smsd.domain.lifecycle import BIRTHS, RECEIVED, RESULTS, STATES, STEPS, Status, picture

PAGE = Path(__file__).parents[2] / "docs" / "tickets.md"
DRAWING = re.compile(r"(?<=^```mermaid\n)stateDiagram-v2\n.*?(?=\n```$)", re.MULTILINE | re.DOTALL)
RENEW = ".venv/bin/python tests/domain/test_lifecycle.py"
ARROWS = {(step.leaves, step.enters) for step in STEPS}

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


def test_final_states_never_change_but_for_one_arrow():
    assert [(s.leaves, s.enters) for s in STEPS if s.leaves in ("sent", "failed")] == [
        ("failed", "sent")
    ]


def test_a_result_may_do_what_the_table_says_and_nothing_else():
    allowed = {
        ("queued", "sent"),
        ("queued", "failed"),
        ("sending", "sent"),
        ("sending", "failed"),
        ("failed", "sent"),
    }
    assert allowed == RESULTS


# -- the docs --------------------------------------------------------------------------------


def test_the_picture_in_the_docs_is_drawn_from_the_table():
    assert DRAWING.findall(PAGE.read_text("utf-8")) == [picture()], f"renew it: {RENEW}"


def test_the_picture_has_every_arrow_in_words_that_mermaid_can_read():
    arrows = re.findall(r"^ {4}(\S+) --> (\S+?)(?:: ([^:;#\n]+))?$", picture(), re.MULTILINE)
    assert len(arrows) == picture().count("\n")
    told = {(leaves, enters): when for leaves, enters, when in arrows}
    assert {arrow: told[arrow] for arrow in ARROWS} == {(s[0], s[1]): s[2] for s in STEPS}
    assert {enters for leaves, enters, _ in arrows if leaves == "[*]"} == set(BIRTHS)


if __name__ == "__main__":
    PAGE.write_text(DRAWING.sub(lambda _: picture(), PAGE.read_text("utf-8")), "utf-8")
