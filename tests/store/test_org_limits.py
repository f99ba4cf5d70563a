"""What an org is allowed is changed one by one; what it uses is counted as far as is asked."""

import pytest
import pytest_twisted
from msgspec.structs import replace
from seed import append, ask, claimed, sms, ticket

from smsd.domain.allowance import Own
from smsd.store import limits, orgs
from smsd.store.orgs import Asked
from smsd.store.trouble import DataRefused


@pytest_twisted.ensureDeferred
async def test_limits_are_changed_one_by_one_and_each_org_has_its_own(database):
    await claimed(database, "acme", "beta", "plain")
    await limits.change(database, "acme", lambda own: replace(own, max_queued=5))
    await limits.change(database, "acme", lambda own: replace(own, to_prefixes=("+49", "0")))
    await limits.change(database, "beta", lambda own: replace(own, max_stored=0))
    assert await limits.read(database, ["acme", "beta", "plain", "nobody"]) == {
        "acme": Own(max_queued=5, to_prefixes=("+49", "0")),
        "beta": Own(max_stored=0),
    }


@pytest_twisted.ensureDeferred
async def test_an_org_that_is_not_there_has_no_limits(database):
    with pytest.raises(DataRefused):
        await limits.change(database, "acme", lambda own: own)


@pytest_twisted.ensureDeferred
async def test_a_recognition_tells_of_them(database):
    await claimed(database, "acme", "plain")
    own = Own(max_sends_per_minute=7, queue_ttl=0, to_prefixes=())
    await limits.change(database, "acme", lambda _: own)
    found = await orgs.recall(database, [Asked("plain", "::1"), Asked("acme", "::1")])
    assert [recalled.limits for recalled in found] == [None, own]


@pytest_twisted.ensureDeferred
async def test_use_is_counted_for_one_org_and_no_further_than_is_asked(database):
    await claimed(database, "acme", "beta")
    await append(
        database, *(ticket() for _ in range(5)), *(ticket("beta") for _ in range(9)), sms()
    )
    await ask(database, "UPDATE messages SET created_at = now() - interval '90 s' WHERE id <= 2")
    await ask(database, "UPDATE messages SET status = 'failed', error = 'x' WHERE id = 5")
    used = await limits.usage(database, "acme", queued=100, sends=100)
    assert (used.last_id, used.queued, used.sent) == (6, 4, 3)
    assert 50 < used.sent_for <= 60
    used = await limits.usage(database, "acme", queued=3, sends=2)
    assert (used.queued, used.sent) == (3, 2)
    assert await limits.stored(database, "acme", most=100) == limits.Stored(6, 6)
    assert await limits.stored(database, "acme", most=4) == limits.Stored(6, 4)
    assert await limits.usage(database, "none", queued=9, sends=9) == limits.Usage(0, 0, 0, 0.0)


@pytest_twisted.ensureDeferred
async def test_orgs_are_counted_no_further_than_is_asked(database):
    await claimed(database, "one", "two", "three")
    assert [await limits.orgs_exceed(database, most) for most in (2, 3)] == [True, False]


@pytest_twisted.ensureDeferred
async def test_every_org_with_a_time_to_wait_is_found_page_by_page(database, monkeypatch):
    monkeypatch.setattr(limits, "ORGS", 2)
    names = [f"org-{number}" for number in range(5)]
    await claimed(database, *names, "never")
    await limits.change(database, "never", lambda own: replace(own, queue_ttl=0))
    for name in names[:3]:
        await limits.change(database, name, lambda own: replace(own, queue_ttl=60))
    await append(database, *(ticket(name) for name in [*names, "never"]))
    await ask(database, "UPDATE messages SET created_at = now() - interval '90 s'")
    for default, expired in [(0, names[:3]), (80, names[3:])]:
        batches = [batch async for batch in limits.expire_everywhere(database, default)]
        assert sorted(org_id for batch in batches for org_id, _ in batch) == expired
