"""Places at an endpoint."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from smsd.outward.gates import Gates

DEAD, ALIVE = ("dead.example.com", 443), ("alive.example.com", 443)


def test_four_fill_an_endpoint_and_no_other() -> None:
    gates = Gates()
    with ExitStack() as stack:
        for _ in range(4):
            assert not gates.full(DEAD)
            stack.enter_context(gates.inside(DEAD))
        assert gates.full(DEAD)
        assert not gates.full(ALIVE)
        assert not gates.full((DEAD[0], 8443))
    assert not gates.full(DEAD)


def test_a_place_is_free_again_after_a_failure() -> None:
    gates = Gates(1)
    with pytest.raises(ZeroDivisionError), gates.inside(DEAD):
        raise ZeroDivisionError
    assert not gates.full(DEAD)
