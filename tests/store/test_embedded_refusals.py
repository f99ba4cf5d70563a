"""What the private Postgres refuses, and that it says what is wrong and what to do."""

import shutil
from pathlib import Path

import pytest
import pytest_twisted
from clusters import ask, filled, new_home, removed, running, the_reactor

from smsd.store.account import keeper
from smsd.store.embedded import PostgresUnusable, PrivatePostgres
from smsd.store.home import CLUSTER

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture
def home():
    home = new_home()
    yield home
    removed(home)


@pytest.mark.skipif(not DEBIAN_15.exists(), reason="needs Debian's PostgreSQL 15")
@pytest_twisted.ensureDeferred
async def test_another_major_version_serves_its_own_data_and_nobody_elses(home):
    async with running(home, binaries=DEBIAN_15) as (_, conninfo):
        assert ask(conninfo, "SHOW server_version_num").startswith("15")
        assert ask(conninfo, "SELECT upper('äöü é')") == "ÄÖÜ É"
        assert ask(conninfo, "SHOW data_checksums") == "on"
    with pytest.raises(PostgresUnusable) as refused:
        await PrivatePostgres(the_reactor(), home).start()
    assert f"The data in {home / CLUSTER} is of PostgreSQL 15" in str(refused.value)
    assert str(DEBIAN_15) in str(refused.value)
    assert "run `smsd upgrade`" in str(refused.value)


@pytest_twisted.ensureDeferred
async def test_data_of_a_version_that_is_nowhere_is_refused_with_what_to_install(home):
    (await filled(home) / CLUSTER / "PG_VERSION").write_text("14\n")
    with pytest.raises(PostgresUnusable, match="install PostgreSQL 14 and name its bin"):
        await PrivatePostgres(the_reactor(), home).start()


@pytest_twisted.ensureDeferred
async def test_a_server_that_refuses_its_settings_is_told_of_in_its_own_words(home):
    with pytest.raises(PostgresUnusable, match=r"exit status 1.*invalid value.*shared_buffers"):
        await PrivatePostgres(
            the_reactor(), await filled(home), options={"shared_buffers": "lots"}
        ).start()
    async with running(home):  # and the lock was let go
        pass


@pytest_twisted.ensureDeferred
async def test_what_the_system_refuses_is_told_in_the_same_way(home):
    (home / CLUSTER).symlink_to(home / "unplugged")
    with pytest.raises(PostgresUnusable, match=f"{home} cannot be used for data: .*No such"):
        await PrivatePostgres(the_reactor(), home).start()
    (home / CLUSTER).unlink()
    async with running(await filled(home)):  # and the lock was let go
        pass


@pytest_twisted.ensureDeferred
async def test_what_is_not_a_cluster_is_not_touched(home):
    (home / CLUSTER).mkdir(mode=0o700)
    shutil.chown(home / CLUSTER, keeper(home / "nothing").uid)
    (home / CLUSTER / "thesis.txt").write_text("dear")
    with pytest.raises(PostgresUnusable, match="is not a Postgres data directory"):
        await PrivatePostgres(the_reactor(), home).start()
    assert [each.name for each in (home / CLUSTER).iterdir()] == ["thesis.txt"]
