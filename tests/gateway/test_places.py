"""Endpoints that never answer hold up each other, and nobody else."""

from __future__ import annotations

import pytest
import pytest_twisted
from nodes import ORG, Node, made_org, soon, sql
from twisted.internet.task import Clock

from smsd.gateway import places
from smsd.gateway.places import LONG, Places
from smsd.gateway.postman import LAST_ANSWERS
from smsd.store import events, hooks
from smsd.store.hooks import MOST, NewHook

OTHERS = [f"org-{n}" for n in range(1, 25)]
ALIVE = "https://alive.example.com/"


@pytest.fixture
def seats(clock: Clock) -> Places:
    return Places(clock.seconds)


def taken(seats: Places, standing: str, orgs: int, named: str = "") -> int:
    """How many hooks get a place of so many orgs that have as many as they may."""
    return sum(
        seats.take((f"{named}{standing}-{org}", f"{hook}"), standing)  # type: ignore[arg-type]
        for org in range(orgs)
        for hook in range(MOST)
    )


@pytest.mark.parametrize(
    ("standing", "of_org", "of_node"),
    [
        ("proven", places.QUICK_OF_ORG, places.QUICK),
        ("fresh", places.FRESH_OF_ORG, places.FRESH),
        ("failing", places.FAILING_OF_ORG, places.FAILING),
    ],
)
def test_an_org_and_all_orgs_hold_so_many_places_and_no_more(
    clock, seats, standing, of_org, of_node
):
    assert taken(seats, standing, 1) == of_org
    assert taken(Places(clock.seconds), standing, 100) == of_node


def test_who_took_its_last_post_finds_a_place_beside_all_who_did_not(seats):
    taken(seats, "failing", 100)
    assert taken(seats, "fresh", 100) == places.FRESH
    assert taken(seats, "proven", 100) == places.QUICK - places.FRESH


def test_a_post_that_takes_long_gives_its_quick_place_free(clock, seats):
    assert taken(seats, "proven", 100) == places.QUICK
    clock.advance(LONG - 0.01)
    seats.set_aside()
    assert not seats.take(("late", "hook"), "proven")
    seats.begins(("proven-0", "0"))
    clock.advance(0.01)
    seats.set_aside()
    assert seats.slow == places.QUICK - 1
    assert seats.take(("late", "hook"), "proven")


def test_a_node_makes_so_many_posts_and_no_more(clock, seats):
    for name in "abcdefghij":
        taken(seats, "failing", 100, name)
        taken(seats, "proven", 100, name)
        clock.advance(LONG)
        seats.set_aside()
    assert len(seats) == places.ALL


def test_whoever_leaves_leaves_nothing_behind(clock, seats):
    for standing in ("proven", "fresh", "failing"):
        taken(seats, standing, 3)
    clock.advance(LONG)
    seats.set_aside()
    for hook in seats.taken():
        seats.leave(hook)
    assert (len(seats), seats.slow, list(seats.of("proven-0"))) == (0, 0, [])
    assert taken(seats, "proven", 1) == places.QUICK_OF_ORG


# -- on a node -------------------------------------------------------------------------------


async def with_dead_hooks(database, org_ids, number=MOST):
    """Orgs with hooks whose endpoints never answer, and with an event to be posted to them."""
    for org_id in org_ids:
        await made_org(database, org_id)
        await events.listen(database, org_id, 86_400.0)
    await sql(
        database,
        "INSERT INTO hooks (org_id, hook_id, url, secret, cursor, next_at)"
        " SELECT c.org_id, lpad(n::text, 12, '0'), 'https://dead.' || c.org_id || n"
        " || '.example.com/', 'whsec_', c.last_event, now() - interval '1 hour'"
        " FROM org_counters AS c, generate_series(1, %(number)s) AS n"
        " WHERE c.org_id = ANY (%(org_ids)s::text[])",
        number=number,
        org_ids=list(org_ids),
    )


async def with_live_hook(database, org_id):
    new = NewHook(url=ALIVE + org_id)
    assert await hooks.make(
        database, org_id, new, hook_id="abcdefabcdef", secret="whsec_" + "A" * 32
    )


async def happens(database, *org_ids):
    await sql(
        database,
        "WITH told AS (UPDATE org_counters SET last_event = last_event + 1"
        " WHERE org_id = ANY (%(org_ids)s::text[]) RETURNING org_id, last_event)"
        " INSERT INTO events (org_id, id, type, data)"
        " SELECT org_id, last_event, 'phone.online', '{}' FROM told",
        org_ids=list(org_ids),
    )


async def turn(node: Node, posts: int) -> list[str]:
    """Where it is posted to, once so many posts more have begun."""
    before = len(node.courier.posts)

    async def begun() -> None:
        await node.postman.turn()
        while len(node.courier.posts) < before + posts:
            await sql(node.database, "SELECT 1")

    await soon(begun())
    return [url for url, *_ in node.courier.posts[before:]]


async def come_to_an_end(node: Node) -> None:
    node.postman.close()
    node.clock.advance(LAST_ANSWERS)
    await node.settled()


@pytest_twisted.ensureDeferred
async def test_eighty_endpoints_that_never_answer_delay_no_other_org(node, database):
    await with_dead_hooks(database, OTHERS[:4])
    await made_org(database)
    await events.listen(database, ORG, 86_400.0)
    await with_live_hook(database, ORG)
    await happens(database, *OTHERS[:4], ORG)
    posted = await turn(node, 4 * places.FRESH_OF_ORG + 1)
    assert ALIVE + ORG in posted
    await come_to_an_end(node)


@pytest_twisted.ensureDeferred
async def test_an_orgs_own_endpoints_that_never_answer_delay_its_others_for_moments(node, database):
    await with_dead_hooks(database, [ORG], MOST - 1)
    await with_live_hook(database, ORG)
    await happens(database, ORG)
    posted = await turn(node, places.FRESH_OF_ORG)
    for _ in range(3):
        assert ALIVE + ORG not in posted
        node.clock.advance(LONG)
        posted += await turn(node, min(places.FRESH_OF_ORG, MOST - len(posted)))
    assert len(posted) == MOST
    assert ALIVE + ORG in posted
    await come_to_an_end(node)


@pytest_twisted.ensureDeferred
async def test_hundreds_that_never_answer_delay_nobody_who_answered_last(node, database):
    await with_dead_hooks(database, OTHERS)
    await made_org(database)
    await events.listen(database, ORG, 86_400.0)
    await with_live_hook(database, ORG)
    await happens(database, ORG)
    assert await turn(node, 1) == [ALIVE + ORG]
    await node.settled()
    await happens(database, *OTHERS)
    for _ in range(places.SLOW // places.FRESH):
        await turn(node, places.FRESH)
        node.clock.advance(LONG)
    await happens(database, ORG)
    assert ALIVE + ORG in await turn(node, places.FRESH + 1)
    await happens(database, ORG)  # and once all places are taken but a few
    node.clock.advance(LONG)
    assert await turn(node, 1) == [ALIVE + ORG]
    await come_to_an_end(node)


@pytest_twisted.ensureDeferred
async def test_those_that_failed_delay_nobody_who_did_not(node, database):
    await with_dead_hooks(database, OTHERS, MOST - 1)
    await sql(database, "UPDATE hooks SET failing_since = now(), tries = 1")
    await with_live_hook(database, OTHERS[0])
    await happens(database, *OTHERS)
    posted = await turn(node, places.FAILING + 1)
    assert ALIVE + OTHERS[0] in posted
    assert len(posted) == places.FAILING + 1
    await come_to_an_end(node)
