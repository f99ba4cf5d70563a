"""A database that may forget what it has committed is told of, setting by setting."""

import pytest
import pytest_twisted
from clusters import HASTY, heard, new_home, removed, running
from databases import opened
from seed import ask

from smsd.store.durability import risks, warn_of_risks


@pytest.fixture
def home():
    home = new_home()
    yield home
    removed(home)


async def told_of(home, options):
    async with running(home, options=options) as (_, conninfo):
        database = await opened(conninfo, 1)
        try:
            return await risks(database)
        finally:
            await database.close()


@pytest_twisted.ensureDeferred
async def test_a_database_as_postgres_makes_it_is_no_risk(home):
    assert await told_of(home, {}) == []


@pytest_twisted.ensureDeferred
async def test_each_setting_that_risks_data_is_named_with_what_to_do(home):
    fsync, pages = await told_of(home, HASTY)
    assert fsync.startswith("fsync is off in this database: what was acknowledged can be lost")
    assert fsync.endswith("Set fsync = on in its postgresql.conf.")
    assert pages.startswith("full_page_writes is off in this database: ")


@pytest_twisted.ensureDeferred
async def test_commits_are_waited_for_whatever_the_role_is_told_and_if_not_that_is_told(conninfo):
    admin = await opened(conninfo, 1)
    await ask(admin, "ALTER ROLE smsd SET synchronous_commit = off")
    database = await opened(conninfo, 1)
    try:
        before = await risks(database)
        await ask(database, "SET synchronous_commit = off")
        (more,) = [risk for risk in await risks(database) if risk not in before]
    finally:
        await ask(admin, "ALTER ROLE smsd RESET synchronous_commit")
        await database.close()
        await admin.close()
    assert more.startswith("synchronous_commit is off in this database: what was acknowledged in")


@pytest_twisted.ensureDeferred
async def test_a_risk_is_a_warning_in_the_log(database):
    with heard() as events:
        await warn_of_risks(database)
    told = [event for event in events if "is off in this database" in event.get("risk", "")]
    assert [(event["log_level"].name, event["risk"].split()[0]) for event in told] == [
        ("warn", "fsync"),
        ("warn", "full_page_writes"),
    ]
