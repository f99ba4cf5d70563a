"""An org's people manage their hooks: what is refused, what is shown once, and what a test does."""

from __future__ import annotations

import base64
import itertools

import pytest
import pytest_twisted
from nodes import EPOCH, ORG, RecordingCourier, made_org, soon, sql
from twisted.internet.defer import Deferred

from smsd.domain.errors import (
    EndpointBusy,
    EventsGone,
    HooksFull,
    Invalid,
    ShuttingDown,
    Unauthorised,
    UnknownHook,
)
from smsd.gateway.doorman import Caller
from smsd.gateway.hooks import TESTS, Hooks
from smsd.outward.attempt import Attempt
from smsd.outward.gates import MOST, Gates
from smsd.store import events
from smsd.store import hooks as stored
from smsd.store.hooks import HookChange, NewHook

URL = "https://app.example.com/sms"
ME = Caller(ORG)


@pytest.fixture
def courier():
    return RecordingCourier()


@pytest.fixture
def gates():
    return Gates()


@pytest.fixture
def stirred():
    """The orgs of which it was said that they may have something to post."""
    return []


@pytest.fixture
def hooks(node, courier, gates, stirred):
    numbers = itertools.count(1)
    return Hooks(
        node.database,
        courier,
        gates,
        keep=86_400.0,
        stirred=stirred.append,
        now=node.now,
        chance=lambda size: next(numbers).to_bytes(size, "big"),
    )


async def org(database):
    await made_org(database)


async def make(hooks, url=URL, **more):
    return await soon(hooks.make(ME, NewHook(url=url, **more)))


async def events_of(node):
    page = await soon(events.read(node.database, ORG, 0, 100))
    return [each.type for each in page.events]


# -- made ------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_from_its_first_hook_on_an_org_listens(node, database, hooks):
    await org(database)
    await node.send()
    made = await make(hooks)
    await node.send()
    assert await events_of(node) == ["ticket.queued"]
    assert (await soon(hooks.one(ME, made.seen.id))).behind == 1


@pytest_twisted.ensureDeferred
async def test_whoever_posts_hears_of_what_may_be_posted_now(database, hooks, stirred):
    await org(database)
    hook_id = (await make(hooks)).seen.id
    assert stirred == [ORG]
    await soon(hooks.change(ME, hook_id, HookChange(enabled=False)))
    await soon(hooks.replay(ME, hook_id, (await soon(hooks.one(ME, hook_id))).cursor))
    assert stirred == [ORG] * 3
    await soon(hooks.test(ME, hook_id))
    await soon(hooks.delete(ME, hook_id))
    with pytest.raises(UnknownHook):
        await soon(hooks.replay(ME, hook_id, 0))
    assert stirred == [ORG] * 3


@pytest_twisted.ensureDeferred
async def test_a_secret_is_shown_when_it_is_made_and_signs_from_then_on(database, hooks, courier):
    await org(database)
    made = await make(hooks)
    assert len(base64.b64decode(made.secret.removeprefix("whsec_"), validate=True)) == 32
    assert made.secret not in repr(made)
    await soon(hooks.test(ME, made.seen.id))
    next_ = await soon(hooks.rotate(ME, made.seen.id, 60))
    await soon(hooks.test(ME, made.seen.id))
    assert [post[3] for post in courier.posts] == [[made.secret], [next_.secret, made.secret]]


@pytest.mark.parametrize(
    "url", ["ftp://app.example.com/", "https://10.0.0.1/", "https://user@app.example.com/", "x"]
)
@pytest_twisted.ensureDeferred
async def test_a_url_that_may_not_be_called_is_refused_in_words(database, hooks, url):
    await org(database)
    with pytest.raises(Invalid) as refused:
        await make(hooks, url)
    (fault,) = refused.value.errors
    assert (fault.loc, fault.msg[:5]) == (["url"], "must ")
    made = await make(hooks)
    with pytest.raises(Invalid):
        await soon(hooks.change(ME, made.seen.id, HookChange(url=url)))
    (seen,) = await soon(hooks.all(ME))
    assert seen == made.seen


@pytest_twisted.ensureDeferred
async def test_a_url_is_kept_in_the_form_in_which_it_is_called(database, hooks):
    await org(database)
    made = await make(hooks, "HTTPS://App.Example.com:443")
    assert made.seen.url == "https://app.example.com/"
    seen = await soon(hooks.change(ME, made.seen.id, HookChange(url="http://127.0.0.1:8000")))
    assert seen.url == "http://127.0.0.1:8000/"


@pytest_twisted.ensureDeferred
async def test_an_org_that_has_all_its_hooks_is_told_so(database, hooks):
    await org(database)
    for _ in range(stored.MOST):
        await make(hooks)
    with pytest.raises(HooksFull):
        await make(hooks)
    (first, *_) = await soon(hooks.all(ME))
    await soon(hooks.delete(ME, first.id))
    await make(hooks)


@pytest_twisted.ensureDeferred
async def test_of_an_org_that_is_no_more_no_hook_is_made(hooks):
    with pytest.raises(Unauthorised):
        await make(hooks)


CALLS = {
    "one": lambda hooks, who, id_: hooks.one(who, id_),
    "change": lambda hooks, who, id_: hooks.change(who, id_, HookChange(enabled=True)),
    "rotate": lambda hooks, who, id_: hooks.rotate(who, id_, 0),
    "delete": lambda hooks, who, id_: hooks.delete(who, id_),
    "replay": lambda hooks, who, id_: hooks.replay(who, id_, 0),
    "test": lambda hooks, who, id_: hooks.test(who, id_),
    "deliveries": lambda hooks, who, id_: hooks.deliveries(who, id_, before_id=None, limit=5),
}


@pytest.mark.parametrize("call", CALLS)
@pytest_twisted.ensureDeferred
async def test_a_hook_of_another_org_is_none(database, hooks, courier, call):
    await org(database)
    await made_org(database, "other")
    made = await make(hooks)
    for who, id_ in ((Caller("other"), made.seen.id), (ME, "0" * 12), (ME, "?\x00"), (ME, "")):
        with pytest.raises(UnknownHook):
            await soon(CALLS[call](hooks, who, id_))
    assert courier.posts == []
    assert await soon(hooks.one(ME, made.seen.id)) == made.seen


@pytest_twisted.ensureDeferred
async def test_whoever_enables_a_hook_listens_anew(node, database, hooks):
    await org(database)
    made = await make(hooks, enabled=False)
    await sql(database, "UPDATE org_counters SET listens_until = now() - interval '1 second'")
    await soon(hooks.change(ME, made.seen.id, HookChange(enabled=False)))
    await node.send()
    await soon(hooks.change(ME, made.seen.id, HookChange(enabled=True)))
    await node.send()
    seen = await soon(hooks.one(ME, made.seen.id))
    assert (seen.enabled, seen.behind) == (True, 1)


@pytest_twisted.ensureDeferred
async def test_a_replay_names_what_is_kept_where_it_cannot_be(node, database, hooks):
    await org(database)
    made = await make(hooks)
    first = made.seen.cursor
    await node.send()
    with pytest.raises(EventsGone) as gone:
        await soon(hooks.replay(ME, made.seen.id, first - 1))
    assert gone.value.oldest == first
    with pytest.raises(Invalid) as early:
        await soon(hooks.replay(ME, made.seen.id, first + 2))
    assert str(first + 1) in early.value.errors[0].msg
    assert (await soon(hooks.replay(ME, made.seen.id, first + 1))).behind == 0
    assert (await soon(hooks.replay(ME, made.seen.id, first))).behind == 1


# -- tried -----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_test_posts_one_event_of_its_own_and_tells_what_came_of_it(
    database, hooks, courier
):
    await org(database)
    made = await make(hooks, enabled=False)
    courier.attempt = Attempt(error="time_out", ms=15_000)
    assert await soon(hooks.test(ME, made.seen.id)) == courier.attempt
    await soon(hooks.test(ME, made.seen.id))
    (url, first, body, _), (_, second, _, _) = courier.posts
    assert url == URL
    assert first != second
    assert first.startswith("test_")
    assert "." not in first
    assert body == {
        "type": "hook.test",
        "timestamp": "2023-11-14T22:13:20Z",
        "org_id": ORG,
        "data": {"hook": made.seen.id},
    }
    assert EPOCH == 1_700_000_000.0
    assert await soon(hooks.one(ME, made.seen.id)) == made.seen


@pytest_twisted.ensureDeferred
async def test_tests_take_places_at_their_endpoint_and_give_them_back(
    database, hooks, courier, gates
):
    await org(database)
    made = await make(hooks)
    other = await make(hooks, "https://other.example.com/")
    courier.wait = Deferred()
    going = [Deferred.fromCoroutine(hooks.test(ME, made.seen.id)) for _ in range(MOST)]
    while len(courier.posts) < MOST:
        await soon(hooks.all(ME))
    with pytest.raises(EndpointBusy) as busy:
        await soon(hooks.test(ME, made.seen.id))
    assert busy.value.retry_after == 1
    going.append(Deferred.fromCoroutine(hooks.test(ME, other.seen.id)))
    while len(courier.posts) < MOST + 1:
        await soon(hooks.all(ME))
    waiting, courier.wait = courier.wait, None
    waiting.callback(None)
    for one in going:
        await soon(one)
    assert (hooks.testing, gates.full(("app.example.com", 443))) == (0, False)
    await soon(hooks.test(ME, made.seen.id))


@pytest_twisted.ensureDeferred
async def test_a_node_has_so_many_tests_under_way_for_all(database, hooks, courier):
    await org(database)
    made = await make(hooks)
    hooks.testing = TESTS
    with pytest.raises(EndpointBusy):
        await soon(hooks.test(ME, made.seen.id))
    hooks.testing = TESTS - 1
    await soon(hooks.test(ME, made.seen.id))
    assert (len(courier.posts), hooks.testing) == (1, TESTS - 1)


@pytest_twisted.ensureDeferred
async def test_a_url_that_may_be_called_no_more_is_not(database, hooks, courier):
    await org(database)
    made = await make(hooks, "http://127.0.0.1:8000/")
    courier.allow = ()
    with pytest.raises(Invalid):
        await soon(hooks.test(ME, made.seen.id))
    assert courier.posts == []


@pytest_twisted.ensureDeferred
async def test_at_the_end_no_test_begins(database, hooks, courier):
    await org(database)
    made = await make(hooks)
    hooks.close()
    with pytest.raises(ShuttingDown):
        await soon(hooks.test(ME, made.seen.id))
    assert courier.posts == []
