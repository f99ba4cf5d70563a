"""Which hooks are known to take what is posted to them, and which are not known yet."""

import pytest
import pytest_twisted
from seed import append, ask, sms
from test_kept_hooks import listening, made

from smsd.store import hooks, posts
from smsd.store.hooks import HookChange
from smsd.store.posts import Outcome

KEY = ("acme", "h1")
TAKEN = Outcome(
    event_id=1,
    attempt=1,
    taken=True,
    done=False,
    pause=0.0,
    why=None,
    status=204,
    error=None,
    ms=1,
    answer="",
)
FAILED = TAKEN._replace(taken=False, status=500)


async def standing(database) -> str:
    ((key, standing),) = await posts.due(database, "node", [], 10)
    assert key == KEY
    return standing


async def post(database, *outcomes: Outcome) -> None:
    for outcome in outcomes:
        assert await posts.lease(database, "node", [KEY])
        await posts.note(database, "node", KEY, outcome)


@pytest_twisted.async_yield_fixture
async def behind(database):
    """A hook with an event to be posted, and the cursor in front of it."""
    await listening(database, "acme")
    await made(database)
    await append(database, sms())
    ((cursor,),) = await ask(database, "SELECT cursor FROM hooks")
    yield cursor


@pytest_twisted.ensureDeferred
async def test_a_hook_is_fresh_until_a_post_is_taken(database, behind):
    assert await standing(database) == "fresh"
    await post(database, TAKEN)
    assert await standing(database) == "proven"
    await post(database, FAILED)
    assert await standing(database) == "failing"
    await post(database, TAKEN)
    assert await standing(database) == "proven"


@pytest_twisted.ensureDeferred
async def test_what_only_failed_is_fresh_again_once_it_is_to_begin_anew(database, behind):
    await post(database, FAILED)
    await hooks.replay(database, "acme", "h1", behind)
    assert await standing(database) == "fresh"


@pytest_twisted.ensureDeferred
async def test_an_attempt_that_a_change_overtook_proves_nothing(database, behind):
    assert await posts.lease(database, "node", [KEY])
    await hooks.change(database, "acme", "h1", HookChange(types=()))
    assert not await posts.note(database, "node", KEY, TAKEN)
    assert await standing(database) == "fresh"


@pytest.mark.parametrize(
    ("change", "then"),
    [
        (HookChange(url="https://b/"), "fresh"),
        (HookChange(url="https://app.example.com/"), "proven"),
        (HookChange(enabled=True), "proven"),
    ],
    ids=["another URL", "the same URL", "enabled"],
)
@pytest_twisted.ensureDeferred
async def test_another_url_is_to_be_proven_anew(database, behind, change, then):
    await post(database, TAKEN)
    await hooks.change(database, "acme", "h1", change)
    assert await standing(database) == then
