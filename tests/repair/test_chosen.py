"""What an org has set for itself, as its operator sees it."""

from __future__ import annotations

import msgspec
import pytest

from smsd.domain.allowance import Own
from smsd.domain.opt_outs import OptOuts
from smsd.domain.pacing import Pace, Window
from smsd.repair.chosen import seen
from smsd.repair.terminal import shown

SLOW = Pace(max_per_minute=10, max_per_day=500)
SPACED = Pace(windows=[Window(30, 1800)], burst=5)


def test_an_org_that_has_set_nothing_has_neither() -> None:
    facts = seen(Own(max_stored=5))
    assert {name: shown(value) for name, value in facts.items()} == {"paces": "-", "opt_outs": "-"}


def test_each_pace_is_told_with_its_sim_to_people_and_to_programs() -> None:
    paces = seen(Own(paces={"slot:1": SLOW, "*": SLOW, "1555": SPACED}))["paces"]
    assert shown(paces) == (
        "any SIM: 10 in 60 s and 500 in 86400 s, "
        "1555: 30 in 1800 s and 5 at once, "
        "slot:1: 10 in 60 s and 500 in 86400 s"
    )
    assert msgspec.to_builtins(paces) == [
        {"sim": None, "max_per_minute": 10, "max_per_day": 500},
        {"sim": "1555", "windows": [{"segments": 30, "seconds": 1800}], "burst": 5},
        {"sim": "slot:1", "max_per_minute": 10, "max_per_day": 500},
    ]


@pytest.mark.parametrize(
    ("how", "said", "answers"),
    [
        (OptOuts(scope="org"), "for the whole org, answers nothing", []),
        (
            OptOuts(scope="sim", help="Ask.", stopped="Out."),
            "for the SIM that hears it, answers stopped, help",
            ["stopped", "help"],
        ),
    ],
    ids=["bare", "answered"],
)
def test_opt_outs_are_told_without_the_texts_of_their_answers(
    how: OptOuts, said: str, answers: list[str]
) -> None:
    told = seen(Own(opt_outs=how))["opt_outs"]
    assert shown(told) == said
    assert msgspec.to_builtins(told) == {"scope": how.scope, "answers": answers}
