"""Where private data lives."""

import os
import re
import stat

import pytest
import pytest_twisted
from clusters import ROOT, ask, needs_root, new_home, removed, running

from smsd.store.account import account_of, server_account
from smsd.store.embedded import PostgresUnusable
from smsd.store.home import CLUSTER, settle


@pytest.fixture
def home():
    home = new_home()
    yield home
    removed(home)


@pytest.fixture
def settled(home):
    """Settle as whoever runs the tests, with a shared place that is the test's own."""

    def settled(checkout):
        return settle(checkout / "var", uid=os.geteuid(), shared=home / "lib" / "smsd")

    return settled


def checkout(home, name="smsd", mode=0o755):
    directory = home / name
    directory.mkdir(parents=True)
    directory.chmod(mode)
    return directory


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def used(path):
    """As if there were a cluster."""
    (path / CLUSTER).mkdir(parents=True)
    if ROOT:
        os.chown(path / CLUSTER, server_account().uid, -1)
    return path


def test_data_lives_where_it_was_asked_for(home, settled):
    place = settled(checkout(home))
    assert (place.path, place.notice) == (home / "smsd" / "var", None)
    assert mode_of(place.path) == (0o711 if ROOT else 0o700)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_modes_of_new_directories_do_not_depend_on_the_umask(home, settled, umask):
    before = os.umask(umask)
    try:
        place = settle(home / "a" / "b" / "var", uid=os.geteuid())
    finally:
        os.umask(before)
    for directory in (place.path, home / "a" / "b", home / "a"):
        assert mode_of(directory) == (0o711 if ROOT else 0o700)


def test_an_ordinary_users_data_is_closed_to_others(home):
    place = settle(home / "var", uid=account_of(os.geteuid()).uid or 1000)
    assert mode_of(place.path) == 0o700


def test_a_directory_that_exists_keeps_its_mode(home, settled):
    (checkout(home) / "var").mkdir(mode=0o755)
    (home / "smsd" / "var").chmod(0o755)
    assert mode_of(settled(home / "smsd").path) == 0o755


def test_a_path_that_cannot_be_a_directory_is_told_of(home):
    (home / "file").write_text("")
    with pytest.raises(PostgresUnusable, match=f"{home}/file/var cannot be made.*another data"):
        settle(home / "file" / "var", uid=1000)


@needs_root
@pytest_twisted.ensureDeferred
async def test_a_closed_checkout_of_root_has_its_data_in_the_shared_place_and_says_so(
    home, settled
):
    closed = checkout(home / "root", "smsd")
    closed.parent.chmod(0o700)
    place = settled(closed)
    assert re.fullmatch(r"smsd-[0-9a-f]{8}", place.path.name)
    assert place.path.parent == home / "lib" / "smsd"
    assert mode_of(place.path) == mode_of(place.path.parent) == 0o711
    assert place.path.stat().st_uid == 0
    assert place.notice == (
        f"The data of {closed} is in {place.path}, not in {closed}/var (Postgres runs as"
        f" {server_account().name} here, who may not enter {closed.parent})."
    )
    async with running(place.path) as (_, conninfo):
        assert ask(conninfo, "SELECT 1") == 1
    assert settled(closed) == place
    assert mode_of(closed.parent) == 0o700
    assert not (closed / "var").exists()


@needs_root
def test_a_closed_checkout_itself_is_seen_too(home, settled):
    closed = checkout(home, mode=0o700)
    assert f"may not enter {closed})" in settled(closed).notice


@needs_root
def test_two_closed_checkouts_of_one_name_do_not_share_their_data(home, settled):
    places = [settled(checkout(home / where, "smsd", 0o700)).path for where in ("one", "two")]
    assert len(set(places)) == 2


@needs_root
@pytest.mark.parametrize("name", ["a b/../ü", "...", "x" * 200])
def test_any_name_of_a_checkout_makes_a_plain_name(home, settled, name):
    closed = checkout(home, name, 0o700)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,49}", settled(closed).path.name)


@needs_root
def test_data_in_the_shared_place_is_found_again_when_the_checkout_has_been_opened(home, settled):
    closed = checkout(home, mode=0o700)
    place = used(settled(closed).path)
    closed.chmod(0o755)
    again = settled(closed)
    assert again.path == place
    assert again.notice == f"The data of {closed} is in {place}, not in {closed}/var."


@needs_root
def test_data_in_a_checkout_that_has_been_closed_is_not_replaced_by_none(home, settled):
    opened = checkout(home)
    used(settled(opened).path)
    opened.chmod(0o700)
    with pytest.raises(PostgresUnusable) as refused:
        settled(opened)
    assert f"cannot reach its data in {opened}/var" in str(refused.value)
    assert f"chmod o+x {opened}" in str(refused.value)
    assert not (home / "lib").exists()


@needs_root
def test_data_of_an_ordinary_user_in_a_home_that_only_he_enters_is_found_by_root(home, settled):
    nobody = account_of(65534)
    closed = checkout(home, mode=0o700)
    (closed / "var" / CLUSTER).mkdir(parents=True)
    for path in (closed, closed / "var", closed / "var" / CLUSTER):
        os.chown(path, nobody.uid, nobody.gid)
    assert settled(closed).path == closed / "var"


@needs_root
def test_a_shared_place_that_is_closed_too_is_told_of(home, settled):
    (home / "lib" / "smsd").mkdir(parents=True)
    (home / "lib").chmod(0o700)
    with pytest.raises(PostgresUnusable, match=f"may not enter {home}/lib and so"):
        settled(checkout(home, mode=0o700))
    assert mode_of(home / "lib") == 0o700
