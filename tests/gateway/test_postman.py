"""Events are posted to hooks in order, again until they are taken, and where they left off."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

import pytest
import pytest_twisted
from nodes import ORG, Node, made_org, soon, sql, together
from twisted.internet.defer import Deferred

from smsd.domain.records import Inbound
from smsd.gateway.doorman import Caller
from smsd.gateway.places import FRESH_OF_ORG
from smsd.gateway.postman import LAST_ANSWERS, PAUSE
from smsd.outward.attempt import Attempt
from smsd.outward.gates import MOST
from smsd.store import events, hooks, posts
from smsd.store.hooks import HookChange, NewHook

URL, HOOK = "https://app.example.com/sms", "0123456789ab"
#: The id of the first event behind the hook's making.
FIRST = 2
TAKEN, LOST = Attempt(status=204, ms=3), Attempt(error="unreachable", ms=3)


@pytest_twisted.async_fixture
async def hook(node, database):
    return await made(node, database)


async def made(node, database, hook_id=HOOK, url=URL, **more):
    if not await sql(database, "SELECT 1 FROM orgs"):
        await made_org(database)
    await events.listen(database, ORG, 86_400.0)
    new = NewHook(url=url, **more)
    await hooks.make(database, ORG, new, hook_id=hook_id, secret="whsec_" + "A" * 32)
    return hook_id


async def happen(node: Node, *texts: str, address: str = "+15550001") -> None:
    for text in texts:
        sms = Inbound(address=address, body=text, date=1_700_000_000_000)
        await soon(node.inbox.store(Caller(ORG), [sms]))


async def turn(node: Node) -> None:
    await node.postman.turn()
    await node.spawn.idle()


def bodies(node: Node) -> list[str]:
    return [body["data"]["body"] for _, _, body, _ in node.courier.posts]


async def state(database, hook_id=HOOK):
    (seen,) = await hooks.read(database, ORG, hook_id)
    return seen


async def due(database) -> None:
    await sql(database, "UPDATE hooks SET next_at = now() - interval '1 s'")


@pytest_twisted.ensureDeferred
async def test_what_happens_is_posted_in_order_and_once(node, database, hook):
    await happen(node, "one", "two", "three")
    await turn(node)
    await turn(node)
    assert bodies(node) == ["one", "two", "three"]
    ids = [post_id for _, post_id, _, _ in node.courier.posts]
    assert ids == [f"{HOOK}-{n}" for n in (FIRST, FIRST + 1, FIRST + 2)]
    url, _, body, secrets = node.courier.posts[0]
    assert (url, secrets) == (URL, ["whsec_" + "A" * 32])
    assert (body["type"], body["org_id"], body["id"]) == ("message.received", ORG, FIRST)
    found = await hooks.deliveries(database, ORG, HOOK, before_id=None, limit=10)
    assert [(one.event_id, one.attempt, one.status) for one in found] == [
        (FIRST + 2, 1, 204),
        (FIRST + 1, 1, 204),
        (FIRST, 1, 204),
    ]
    assert (await state(database)).behind == 0


@pytest_twisted.ensureDeferred
async def test_what_is_not_taken_holds_the_next_back_and_is_posted_again(node, database, hook):
    await happen(node, "one", "two")
    node.courier.attempt = LOST
    await turn(node)
    await turn(node)  # too soon
    assert bodies(node) == ["one"]
    seen = await state(database)
    assert (seen.tries, seen.cursor, seen.behind) == (1, FIRST - 1, 2)
    assert seen.failing_since.endswith("+00:00")
    assert seen.next_attempt_at.endswith("+00:00")
    node.courier.attempt = TAKEN
    await due(database)
    await turn(node)
    assert bodies(node) == ["one", "one", "two"]
    first, second, _ = (post_id for _, post_id, _, _ in node.courier.posts)
    assert first == second
    seen = await state(database)
    assert (seen.tries, seen.failing_since, seen.behind) == (0, None, 0)


@pytest_twisted.ensureDeferred
async def test_an_event_that_had_all_its_attempts_is_left_out(node, database, hook):
    await happen(node, "one", "two")
    await sql(database, "UPDATE hooks SET tries = 9")
    node.courier.attempt = LOST
    await turn(node)
    seen = await state(database)
    assert (seen.cursor, seen.tries) == (FIRST, 0)
    assert seen.enabled


@pytest.mark.parametrize(
    ("attempt", "failing", "why"),
    [(Attempt(status=410, ms=1), "0 s", "gone"), (LOST, "73 h", "failing")],
    ids=["410", "three days"],
)
@pytest_twisted.ensureDeferred
async def test_an_endpoint_that_is_gone_or_fails_for_days_is_left_alone(
    node, database, hook, attempt, failing, why
):
    await happen(node, "one")
    await sql(database, f"UPDATE hooks SET failing_since = now() - interval '{failing}'")
    node.courier.attempt = attempt
    await turn(node)
    await due(database)
    await turn(node)
    assert bodies(node) == ["one"]
    seen = await state(database)
    assert (seen.enabled, seen.disabled_why) == (False, why)
    node.courier.attempt = TAKEN
    await hooks.change(database, ORG, HOOK, HookChange(enabled=True))
    await turn(node)
    assert bodies(node) == ["one", "one"]


@pytest_twisted.ensureDeferred
async def test_only_what_the_hook_asks_for_is_posted(node, database):
    await made(node, database, address="+15550002")
    await happen(node, "one")
    await happen(node, "two", address="+15550002")
    await happen(node, "three")
    await turn(node)
    assert bodies(node) == ["two"]
    assert (await state(database)).behind == 0


@pytest_twisted.ensureDeferred
async def test_a_dead_endpoint_delays_nobody_else(node, database, hook):
    await made(node, database, "ba9876543210", "https://other.example.com/")
    await happen(node, "one")
    node.courier.wait = Deferred()
    await node.postman.turn()
    await node.postman.turn()
    posted = node.courier.posts
    while len(posted) < 2:
        await soon(database.run(events._ORGS, after="", most=1))
    assert {url for url, *_ in posted} == {URL, "https://other.example.com/"}
    node.courier.wait.callback(None)
    await node.spawn.idle()


@pytest_twisted.ensureDeferred
async def test_a_hook_waits_where_its_endpoint_has_no_place(node, database, hook):
    await happen(node, "one")
    with ExitStack() as others:
        for _ in range(MOST):
            others.enter_context(node.gates.inside(("app.example.com", 443)))
        await turn(node)
    assert node.courier.posts == []
    assert (await state(database)).next_attempt_at is not None
    await due(database)
    await turn(node)
    assert bodies(node) == ["one"]


@pytest_twisted.ensureDeferred
async def test_a_replay_during_a_post_is_not_undone_by_what_came_of_it(node, database, hook):
    await happen(node, "one", "two")
    await turn(node)
    node.courier.wait = Deferred()
    await happen(node, "three")
    await node.postman.turn()
    while len(node.courier.posts) < 3:
        await soon(database.run(events._ORGS, after="", most=1))
    await hooks.replay(database, ORG, HOOK, FIRST - 1)
    waiting, node.courier.wait = node.courier.wait, None
    waiting.callback(None)
    await node.spawn.idle()
    node.clock.advance(PAUSE)
    await node.settled()
    assert bodies(node) == ["one", "two", "three", "one", "two", "three"]


@pytest.mark.parametrize("how", ["rotated", "narrowed", "closed", "deleted"])
@pytest_twisted.ensureDeferred
async def test_what_is_said_of_a_hook_during_a_post_holds_from_the_next_on(
    node, database, hook, how
):
    await happen(node, "one", "two")
    node.courier.wait = Deferred()
    await node.postman.turn()
    while not node.courier.posts:
        await soon(database.run(events._ORGS, after="", most=1))
    if how == "rotated":
        await hooks.rotate(database, ORG, HOOK, secret="whsec_" + "B" * 32, overlap=0)
    elif how == "narrowed":
        await hooks.change(database, ORG, HOOK, HookChange(types=("ticket.sent",)))
    elif how == "closed":
        await sql(database, "UPDATE orgs SET pepper_id = 'closed'")
    else:
        await hooks.delete(database, ORG, HOOK)
    waiting, node.courier.wait = node.courier.wait, None
    waiting.callback(None)
    await node.spawn.idle()
    await turn(node)
    posted = [(body["data"]["body"], secrets[0][-1]) for _, _, body, secrets in node.courier.posts]
    more = [("one", "B"), ("two", "B")] if how == "rotated" else []
    assert posted == [("one", "A"), *more]


@pytest_twisted.ensureDeferred
async def test_two_turns_at_once_take_a_hook_once(node, hook):
    await happen(node, "one", "two")
    await together(*(node.postman.turn() for _ in range(5)))
    await node.spawn.idle()
    assert bodies(node) == ["one", "two"]
    assert node.database.run_names["due_hooks_everywhere"] < 5


@pytest_twisted.ensureDeferred
async def test_two_nodes_never_post_for_a_hook_at_once(node, database, clock, hook):
    other = Node(database, clock, name="node-2")
    await happen(node, "one")
    node.courier.wait = Deferred()
    await node.postman.turn()
    while not node.courier.posts:
        await soon(database.run(events._ORGS, after="", most=1))
    await turn(other)
    assert other.courier.posts == []
    await sql(database, "UPDATE hooks SET leased_until = now() - interval '1 s'")
    await turn(other)
    assert bodies(other) == ["one"]
    before = await state(database)
    node.courier.wait.callback(None)
    await node.spawn.idle()
    found = await hooks.deliveries(database, ORG, HOOK, before_id=None, limit=10)
    assert [(one.event_id, one.attempt, one.status) for one in found] == [(FIRST, 1, 204)] * 2
    assert await state(database) == before


@pytest_twisted.ensureDeferred
async def test_a_post_that_a_change_overtook_is_shown_and_moves_nothing(node, database, hook):
    await happen(node, "one")
    node.courier.wait = Deferred()
    await node.postman.turn()
    while not node.courier.posts:
        await soon(database.run(events._ORGS, after="", most=1))
    await sql(
        database,
        "UPDATE hooks SET leased_by = NULL, leased_until = NULL, next_at = now() + interval '1 h'",
    )
    before = await state(database)
    node.courier.wait.callback(None)
    await node.spawn.idle()
    found = await hooks.deliveries(database, ORG, HOOK, before_id=None, limit=10)
    assert [(one.event_id, one.attempt, one.status) for one in found] == [(FIRST, 1, 204)]
    assert await state(database) == before


@pytest_twisted.ensureDeferred
async def test_a_shutdown_gives_up_what_is_not_answered_and_the_next_life_posts_it(
    node, database, clock, hook
):
    await happen(node, "one", "two")
    node.courier.wait = Deferred()
    await node.postman.turn()
    while not node.courier.posts:
        await soon(database.run(events._ORGS, after="", most=1))
    node.postman.close()
    clock.advance(LAST_ANSWERS)
    await node.spawn.idle()
    again = Node(database, clock)
    await turn(again)
    assert bodies(again) == ["one", "two"]


@pytest_twisted.ensureDeferred
async def test_an_org_with_a_hook_goes_on_listening_and_one_without_does_not(node, database, hook):
    await sql(database, "UPDATE org_counters SET listens_until = now() + interval '1 s'")
    await node.postman.renew()
    ((days,),) = await sql(
        database,
        "SELECT round(extract(epoch FROM listens_until - now()) / 86400) FROM org_counters",
    )
    assert days == 7
    await hooks.delete(database, ORG, HOOK)
    await sql(database, "UPDATE org_counters SET listens_until = now()")
    await node.postman.renew()
    assert await sql(database, "SELECT 1 FROM org_counters WHERE listens_until > now()") == []


@pytest_twisted.ensureDeferred
async def test_what_came_of_posts_goes_with_its_events(node, database, hook):
    await happen(node, "one", "two")
    await turn(node)
    await sql(database, f"UPDATE org_counters SET events_from = {FIRST}")
    await posts.prune_everywhere(database)
    found = await hooks.deliveries(database, ORG, HOOK, before_id=None, limit=10)
    assert [one.event_id for one in found] == [FIRST + 1]


@pytest_twisted.ensureDeferred
async def test_a_hook_that_was_left_behind_for_too_long_goes_on_with_what_is_kept(
    node, database, hook
):
    await happen(node, "one", "two")
    await sql(database, f"DELETE FROM events WHERE id = {FIRST}")
    await sql(database, f"UPDATE org_counters SET events_from = {FIRST}")
    await turn(node)
    assert bodies(node) == ["two"]


@pytest_twisted.ensureDeferred
async def test_what_is_committed_here_is_posted_without_waiting_for_the_second(
    node, database, hook
):
    await happen(node, "one")
    await turn(node)
    await happen(node, "two")
    await node.settled()
    await happen(node, "three")
    await node.settled()
    assert bodies(node) == ["one", "two"]  # a busy org is looked at now and then only
    node.clock.advance(PAUSE)
    await node.settled()
    assert bodies(node) == ["one", "two", "three"]


@pytest_twisted.ensureDeferred
async def test_what_is_committed_during_a_post_is_posted_behind_it(node, database, hook):
    await happen(node, "one")
    await turn(node)
    node.courier.wait = Deferred()
    await happen(node, "two")
    while len(node.courier.posts) < 2:
        await soon(database.run(events._ORGS, after="", most=1))
    node.clock.advance(PAUSE)
    await happen(node, "three")
    waiting, node.courier.wait = node.courier.wait, None
    waiting.callback(None)
    await node.settled()
    node.clock.advance(PAUSE)
    await node.settled()
    assert bodies(node) == ["one", "two", "three"]


@pytest_twisted.ensureDeferred
async def test_a_hook_of_which_the_postman_heard_is_posted_to_from_the_first_event_on(
    node, database, hook
):
    node.postman.expect(ORG)
    await node.settled()
    await happen(node, "one")
    node.clock.advance(PAUSE)
    await node.settled()
    assert bodies(node) == ["one"]


async def until(database, ready) -> None:
    """The database answers again and again, until this is so."""
    for _ in range(1000):
        if ready():
            return
        await sql(database, "SELECT 1")
    raise AssertionError("it never is")


class OneByOne:
    """What posts wait for where each is answered apart from the others."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[None]] = []

    def __await__(self):
        self.waiting.append(Deferred())
        return self.waiting[-1].__await__()


@pytest_twisted.ensureDeferred
async def test_who_finds_no_place_is_looked_for_now_and_then_and_not_behind_every_post(
    node, database
):
    for at in range(FRESH_OF_ORG + 6):
        await made(node, database, f"{at:012}", f"https://{at}.example.com/")
    await happen(node, "one")
    answers = node.courier.wait = OneByOne()
    await node.postman.turn()
    await until(database, lambda: len(answers.waiting) == FRESH_OF_ORG)
    looks = node.database.run_names["due_hooks_everywhere"]

    def noted(number):
        return node.database.run_names["note_post"] == number

    for at in range(FRESH_OF_ORG):
        answers.waiting[at].callback(None)
        await until(database, partial(noted, at + 1))
    assert node.database.run_names["due_hooks_everywhere"] <= looks + 1
    node.courier.wait = None
    node.clock.advance(PAUSE)
    for answer in answers.waiting[FRESH_OF_ORG:]:
        answer.callback(None)
    await node.settled()
    node.clock.advance(PAUSE)
    await node.settled()
    assert len(bodies(node)) == FRESH_OF_ORG + 6


@pytest_twisted.ensureDeferred
async def test_an_org_whose_last_hook_went_is_followed_no_longer(node, database, hook):
    await node.postman.renew()
    await hooks.delete(database, ORG, HOOK)
    await node.postman.renew()
    await happen(node, "one")
    await node.settled()
    assert node.database.run_names["due_hooks_everywhere"] == 0


@pytest_twisted.ensureDeferred
async def test_once_the_last_post_is_answered_nobody_waits_for_others(node, database, hook):
    await happen(node, "one", "two")
    node.courier.wait = Deferred()
    await node.postman.turn()
    while not node.courier.posts:
        await soon(database.run(events._ORGS, after="", most=1))
    node.postman.close()
    assert len(node.clock.getDelayedCalls()) == 1
    node.courier.wait.callback(None)
    await node.settled()
    assert node.clock.getDelayedCalls() == []
    assert bodies(node) == ["one"]


@pytest_twisted.ensureDeferred
async def test_for_an_org_without_hooks_nobody_looks(node, database):
    await made_org(database)
    await happen(node, "one")
    await node.settled()
    assert node.database.run_names["due_hooks_everywhere"] == 0
