"""Every problem can be told: a slug, a status, a close code and a sentence."""

import re

import pytest

from smsd.domain import errors
from smsd.domain.errors import Fault, Invalid, Problem, Unavailable


def family(kind):
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


OURS = [kind for kind in family(Problem) if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_a_problem_reads_as_a_sentence_unless_a_better_one_is_given(kind):
    assert re.fullmatch(r"[A-Z][^\n]*[.?]", kind().detail)
    assert str(kind()) == kind().detail
    assert kind("Better.").detail == "Better."


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_a_problem_has_a_slug_a_status_and_a_close_code(kind):
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.slug)
    assert 400 <= kind.status < 600
    assert kind.close in (1001, 1009) or 4400 <= kind.close < 4600
    assert kind.title


def test_no_two_problems_share_a_slug():
    slugs = [kind.slug for kind in OURS]
    assert len(set(slugs)) == len(slugs)


@pytest.mark.parametrize("kind", [k for k in OURS if k.close >= 4400 and "close" in vars(k)])
def test_a_close_code_repeats_the_status(kind):
    """But an identity of the wrong shape is, to a phone, a wrong identity."""
    assert kind.close == 4000 + (401 if kind is Invalid else kind.status)


def test_a_problem_carries_its_faults_and_when_to_come_back():
    faults = [Fault(["messages", 0, "to"], "is missing")]
    assert Invalid(errors=faults).errors == faults
    assert Unavailable(retry_after=5).retry_after == 5
    assert Unavailable().headers == {}
    assert Unavailable(headers={"Allow": "GET"}).headers == {"Allow": "GET"}
