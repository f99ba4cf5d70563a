"""The one table of a ticket's life is whole. What Postgres makes of it: `test_messages`."""

from typing import get_args

from smsd.domain.lifecycle import RECEIVED, RESULTS, STATES, STEPS, Status


def test_every_state_is_described_and_no_other():
    assert tuple(STATES) == get_args(Status)
    assert RECEIVED not in STATES


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
