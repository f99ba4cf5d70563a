"""Whoever waits for a turn behind a call that the database did not answer waits no longer."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from smsd.domain.errors import Unavailable
from smsd.gateway.turns import Turns


def outcome(answer: Deferred[Any]) -> Any:
    seen: list[Any] = []
    answer.addBoth(lambda result: seen.append(getattr(result, "value", result)))
    return seen[0] if seen else None


class Door:
    """Each who is let through waits for the database; ``tried`` are those who were."""

    def __init__(self) -> None:
        self.turns: Turns[str] = Turns(10, "attempts")
        self.tried: list[str] = []
        self.database: Deferred[None] = Deferred()

    def knock(self, who: str) -> Deferred[str]:
        async def work() -> str:
            self.tried.append(who)
            await self.database
            return who

        return Deferred.fromCoroutine(self.turns.take("acme", work))


def test_all_who_wait_at_one_key_are_refused_with_the_first_who_is() -> None:
    door = Door()
    answers = [door.knock(who) for who in "abc"]
    refusal = Unavailable("away")
    door.database.errback(refusal)
    assert [outcome(answer) for answer in answers] == [refusal] * 3
    assert door.tried == ["a"]


def test_who_comes_after_a_refusal_has_a_turn_of_their_own() -> None:
    door = Door()
    refused = door.knock("a")
    door.database.errback(Unavailable("away"))
    door.database = Deferred()
    later = door.knock("b")
    door.database.callback(None)
    assert isinstance(outcome(refused), Unavailable)
    assert outcome(later) == "b"


@pytest.mark.parametrize("bug", [KeyError("ours"), ValueError("theirs")])
def test_any_other_failure_is_its_own_alone(bug: Exception) -> None:
    door = Door()
    first, second = door.knock("a"), door.knock("b")
    failed, door.database = door.database, Deferred()
    failed.errback(bug)
    door.database.callback(None)
    assert outcome(first) is bug
    assert outcome(second) == "b"
