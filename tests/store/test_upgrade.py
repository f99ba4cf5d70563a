"""When there is nothing to upgrade, and when it cannot be done; that it is done is tried with two
versions in tests/more."""

from __future__ import annotations

import pytest
import pytest_twisted
from clusters import filled, new_home, removed, the_reactor

from smsd.store.embedded import PrivatePostgres
from smsd.store.home import CLUSTER
from smsd.store.unusable import PostgresUnusable
from smsd.store.upgrade import _exchanged, planned


@pytest.fixture
def home():
    home = new_home()
    yield home
    removed(home)


@pytest_twisted.ensureDeferred
async def test_data_of_the_version_of_the_programs_needs_nothing(home):
    assert planned(await filled(home), None) is None


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("14", r"is of PostgreSQL 14, whose programs are needed .*: install PostgreSQL 14"),
        ("99", r"is of PostgreSQL 99, .*install PostgreSQL 99 and name its bin"),
        ("?", "is not a Postgres data directory"),
    ],
    ids=["older", "newer", "strange"],
)
@pytest_twisted.ensureDeferred
async def test_what_is_missing_is_told(home, version, why):
    (await filled(home) / CLUSTER / "PG_VERSION").write_text(version)
    with pytest.raises(PostgresUnusable, match=why):
        planned(home, None)


@pytest_twisted.ensureDeferred
async def test_data_that_an_upgrade_left_aside_is_not_mistaken_for_none(home):
    (home / "upgrade").mkdir()
    with pytest.raises(PostgresUnusable, match="An upgrade was cut short"):
        await PrivatePostgres(the_reactor(), home).start()
    assert not (home / CLUSTER).exists()


def test_two_directories_change_places_or_stay(home):
    (home / "one").mkdir()
    (home / "two").write_text("2")
    assert _exchanged(home / "one", home / "two")
    assert (home / "one").read_text() == "2"
    assert (home / "two").is_dir()
    assert not _exchanged(home / "one", home / "three")
    assert (home / "one").read_text() == "2"
