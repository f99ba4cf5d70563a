"""Results that come while the database is away: kept, so many and no more, and stored when it is
back. Real sockets, a real database that can be told to be away."""

from __future__ import annotations

from typing import Any

import pytest_twisted
from sockets import WITHIN, Running, reactor, turn

from smsd.domain.errors import Unavailable
from smsd.store.statements import Statement

#: Pushes that a phone may leave unanswered.
TICKETS = 100


class Away:
    """A database that may be away."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self.away = False
        self.asked = 0

    async def run(self, statement: Statement, **parameters: object) -> Any:
        self.asked += 1
        if self.away:
            raise Unavailable
        return await self._database.run(statement, **parameters)


@pytest_twisted.ensureDeferred
async def test_a_flood_of_results_waits_for_the_database_in_bounded_memory(
    running: Running,
) -> None:
    """Every ticket ten times, as a ledger phone repeats itself, and ids that nobody gave out."""
    said = [*range(1, TICKETS + 1)] * 10 + [*range(10_000, 13_000)]
    results: Any = running.parts._results
    results._database = database = Away(running.database)

    def begin(gateway: Running) -> Any:
        phones = gateway.on_line(ledger=1)
        phone = phones.__enter__()
        for _ in range(TICKETS):
            gateway.send()
        assert [phone.hear()["type"] for _ in range(TICKETS)] == ["send_sms"] * TICKETS
        return phone, phones

    def flood(gateway: Running) -> None:
        for id_ in said:
            phone.say(type="send_result", id=id_, success=True)

    def answers(gateway: Running) -> list[tuple[str, int]]:
        heard = [phone.hear() for _ in said]
        return [(frame.get("code", frame["type"]), frame["id"]) for frame in heard]

    phone, phones = await running.do(begin)
    database.away = True
    flooding = running.do(flood)
    (link,) = running.links
    await _until(lambda: not link.listening)
    asked = database.asked
    await _until(lambda: database.asked > asked + 2)
    assert link._desk._results._under_way == TICKETS
    assert len(running.parts._spawn._running) <= TICKETS + 2
    assert link._desk._results.full
    database.away = False
    await flooding
    told = await running.do(answers)
    assert sorted(told) == sorted(
        ("result_ack" if id_ <= TICKETS else "unknown_ticket", id_) for id_ in said
    )
    assert await running.count("messages WHERE status = 'sent'") == TICKETS
    await running.do(lambda _: phones.__exit__(None, None, None))


async def _until(look: Any) -> None:
    end = reactor.seconds() + WITHIN
    while not look():
        assert reactor.seconds() < end, "it did not come to pass"
        await turn()
