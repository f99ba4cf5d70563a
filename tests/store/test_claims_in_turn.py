"""Paced SIMs are given what their windows allow and no more, whoever claims at the same time."""

import pytest
import pytest_twisted
from seed import OTHER_SESSION, SESSION, append, ask, claimed, ticket
from twisted.internet.defer import Deferred, gatherResults

from smsd.domain.allowance import Own
from smsd.domain.pacing import Pace, Window
from smsd.store import limits, messages, pacing
from smsd.store.messages import Pushed, Served
from smsd.store.pacing import Claim, PacedQueue
from smsd.store.trouble import DataRefused

THREE = Pace(max_per_minute=3)
ONE_SIM = {"1555": THREE.spans}
QUEUES = [PacedQueue(Served("1555", 0, "+1555", "1555"), ("1555",))]
LONG = "a" * 161


def claim(*, queues=QUEUES, sims=ONE_SIM, session_id=SESSION, places=64):
    return Claim("acme", queues, sims, session_id, "?", False, places)


async def run(database, **how):
    """The ids that a claim gives, and in about how many seconds its queues open."""
    one = claim(**how)
    handed = await one.run(database)
    opens = {queue: round(wait) for queue, wait in one.opens_in.items()}
    return [given.id for given in handed.tickets], opens


async def waiting(database, *rows):
    await claimed(database, "acme")
    return await append(database, *rows)


async def pass_time(database, seconds):
    """What SIMs were given was so much longer ago."""
    past = "UPDATE sim_uses SET at = at - make_interval(secs => %(seconds)s)"
    await ask(database, past, seconds=seconds)


async def uses(database):
    return await ask(database, "SELECT sim_key, message_id, segments FROM sim_uses ORDER BY 2, 1")


def sent(number, key_id=None, body="hi"):
    return [ticket(sim="+1555", key_id=key_id, body=body) for _ in range(number)]


@pytest_twisted.ensureDeferred
async def test_as_many_as_the_window_has_left_are_given_and_counted(database):
    await waiting(database, *sent(5))
    assert await run(database) == ([1, 2, 3], {"1555": 60})
    assert await uses(database) == [("1555", 1, 1), ("1555", 2, 1), ("1555", 3, 1)]
    assert await run(database) == ([], {"1555": 60})
    await pass_time(database, 20)
    assert await run(database) == ([], {"1555": 40})
    await pass_time(database, 41)
    assert await run(database) == ([4, 5], {})
    given = "SELECT status, sim_slot, session_id::text FROM messages WHERE id = 4"
    assert await ask(database, given) == [("sending", 0, SESSION)]


@pytest_twisted.ensureDeferred
async def test_what_counts_no_longer_is_forgotten(database):
    await waiting(database, *sent(4))
    await run(database)
    await pass_time(database, 61)
    await run(database)
    assert await uses(database) == [("1555", 4, 1)]
    await pass_time(database, 61)
    await run(database)
    assert await uses(database) == [("1555", 4, 1)], "whose turn was last is known"


@pytest_twisted.ensureDeferred
async def test_no_more_is_given_than_there_are_places_for(database):
    await waiting(database, *sent(5))
    assert await run(database, places=2) == ([1, 2], {})


@pytest_twisted.ensureDeferred
async def test_two_that_claim_at_once_do_not_exceed_a_window_between_them(database):
    slots = [ticket(sim=0) for _ in range(20)]
    await waiting(database, *sent(20), *slots)
    sims = {"1555": Pace(max_per_minute=10).spans}
    by_slot = [PacedQueue(Served("slot:0", 0), ("1555",))]
    claims = [
        claim(sims=sims, queues=queues, session_id=session, places=4)
        for queues, session in ((QUEUES, SESSION), (by_slot, OTHER_SESSION)) * 4
    ]
    handed = await gatherResults([Deferred.fromCoroutine(c.run(database)) for c in claims])
    given = [one.id for each in handed for one in each.tickets]
    assert len(given) == len(set(given)) == 10
    assert len(await uses(database)) == 10


@pytest_twisted.ensureDeferred
async def test_segments_count_and_a_long_text_is_not_overtaken(database):
    await waiting(database, *sent(2), *sent(1, body=LONG), *sent(1))
    assert await run(database) == ([1, 2], {"1555": 60})
    await pass_time(database, 61)
    assert await run(database) == ([3, 4], {})


@pytest_twisted.ensureDeferred
async def test_whoever_sends_much_holds_another_up_by_one_turn(database):
    await waiting(
        database, *sent(6, "loud"), *sent(2), *sent(2, "quiet"), ticket(sim=None, key_id="other")
    )
    assert (await run(database, sims={"1555": Pace(max_per_minute=4).spans}))[0] == [1, 7, 8, 9]
    await pass_time(database, 61)
    # The last turn was the secret's.
    again = (await run(database, sims={"1555": Pace(max_per_minute=3).spans}))[0]
    assert again == [2, 3, 10]


@pytest_twisted.ensureDeferred
async def test_turns_are_kept_where_one_goes_at_a_time(database):
    await waiting(database, *sent(3, "a"), *sent(2), *sent(3, "b"))
    sims = {"1555": Pace(windows=[Window(1, 1)]).spans}
    order = []
    for _ in range(8):
        order += (await run(database, sims=sims))[0]
        await pass_time(database, 10)
    assert order == [4, 1, 6, 5, 2, 7, 3, 8]


@pytest_twisted.ensureDeferred
async def test_within_what_one_sends_the_more_important_goes_first(database):
    await waiting(database, *sent(2, "a"), ticket(sim="+1555", key_id="a", rank=-5), *sent(1, "b"))
    assert (await run(database, sims={"1555": Pace(max_per_minute=3).spans}))[0] == [3, 1, 4]


@pytest_twisted.ensureDeferred
async def test_whose_time_has_not_come_or_is_over_has_no_turn(database):
    await waiting(database, *sent(2, "a"), *sent(3))
    await ask(
        database, "UPDATE messages SET not_before = now() + interval '1 h' WHERE id IN (1, 3)"
    )
    await ask(database, "UPDATE messages SET expires_at = now() WHERE id = 4")
    assert await run(database) == ([2, 5], {})


@pytest_twisted.ensureDeferred
async def test_where_the_phone_chooses_it_counts_at_every_sim_that_it_may_be(database):
    await waiting(database, ticket(), ticket(), *sent(3))
    sims = {"1555": THREE.spans, "1666": Pace(max_per_hour=1).spans}
    both = [PacedQueue(Served("*"), ("1555", "1666")), *QUEUES]
    given, opens = await run(database, queues=both, sims=sims)
    assert given == [1, 3, 4]
    assert opens == {"*": 3600, "1555": 60}
    assert ("1666", 1, 1) in await uses(database)


@pytest_twisted.ensureDeferred
async def test_what_surely_was_not_sent_is_given_back(database):
    await waiting(database, *sent(3))
    await run(database)
    ends = [Pushed("acme", 1, SESSION, "?", None, None), Pushed("acme", 2, SESSION, "?", 5, None)]
    await messages.end_pushes(database, ends)
    assert [id_ for _, id_, _ in await uses(database)] == [2, 3]
    assert (await run(database))[0] == [1]


@pytest_twisted.ensureDeferred
async def test_a_ticket_that_was_cancelled_meanwhile_is_neither_given_nor_counted(database):
    await waiting(database, *sent(2))
    one = claim()

    class Cancelling:
        """Cancels the first ticket between the choice and the claim."""

        async def transaction(self, name, body):
            async def spoilt(tx):
                return await body(Spoiling(tx))

            return await database.transaction(name, spoilt)

    class Spoiling:
        def __init__(self, tx):
            self.tx = tx

        async def run(self, statement, **parameters):
            if statement.name == "claim_in_turn":
                await ask(self.tx, "UPDATE messages SET status = 'cancelled' WHERE id = 1")
            return await self.tx.run(statement, **parameters)

    handed = await one.run(Cancelling())
    assert [given.id for given in handed.tickets] == [2]
    assert await uses(database) == [("1555", 2, 1)]


@pytest_twisted.ensureDeferred
async def test_an_org_says_what_its_sims_may_send_and_takes_it_back(database):
    await claimed(database, "acme", "beta")
    assert (await pacing.set_pace(database, "acme", "*", THREE)).paces == {"*": THREE}
    both = await pacing.set_pace(database, "acme", "slot:0", Pace(max_per_day=9, burst=2))
    assert both.has_paces
    assert await limits.read(database, ["acme", "beta"]) == {
        "acme": Own(paces={"*": THREE, "slot:0": Pace(max_per_day=9, burst=2)})
    }
    assert (await pacing.set_pace(database, "acme", "*", None)).paces.keys() == {"slot:0"}
    assert not (await pacing.set_pace(database, "acme", "slot:0", None)).has_paces
    with pytest.raises(DataRefused):
        await pacing.set_pace(database, "nobody", "*", THREE)


@pytest_twisted.ensureDeferred
async def test_the_operators_limits_and_the_paces_leave_each_other_alone(database):
    await claimed(database, "acme")
    await pacing.set_pace(database, "acme", "*", THREE)
    await limits.change(database, "acme", lambda _: Own(max_queued=7))
    assert await limits.read(database, ["acme"]) == {"acme": Own(max_queued=7, paces={"*": THREE})}
    await pacing.set_pace(database, "acme", "*", None)
    assert await limits.read(database, ["acme"]) == {"acme": Own(max_queued=7)}


@pytest_twisted.ensureDeferred
async def test_uses_go_with_their_org(database):
    await waiting(database, *sent(1))
    await run(database)
    await ask(database, "DELETE FROM orgs")
    assert await uses(database) == []
