"""Where the private Postgres' socket may be, whatever the data directory is called."""

import os
from pathlib import Path

import pytest
import pytest_twisted
from clusters import (
    ask,
    environment_of,
    filled,
    needs_root,
    new_home,
    removed,
    running,
    sockets_of,
)

from smsd.store.account import keeper
from smsd.store.directories import socket_directory
from smsd.store.embedded import PostgresUnusable


@pytest.fixture
def home():
    home = new_home()
    yield home
    removed(home)


@pytest.fixture
def sweep_tmp():
    """Socket directories that tests made in /tmp."""
    made = []
    yield made
    for sockets in set(made):
        if sockets.parent == Path("/tmp"):
            sockets.rmdir()


@pytest_twisted.ensureDeferred
async def test_the_environment_neither_misleads_the_server_nor_is_shown_to_it(home, monkeypatch):
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("SMSD_DATABASE", "canary")
    async with running(await filled(home)) as (_, conninfo):
        environ = environment_of(conninfo)
    assert b"canary" not in environ
    assert b"PATH=" in environ


@pytest.mark.parametrize("name", ["with a space", "a=b ümlaut %20", "a,b 'quoted\" \\"])
@pytest_twisted.ensureDeferred
async def test_any_name_of_a_directory_will_do(home, name, sweep_tmp):
    inner = home / name
    inner.mkdir(mode=0o711)
    async with running(await filled(inner)) as (_, conninfo):
        assert ask(conninfo, "SELECT 1") == 1
        *_, sockets = sockets_of(conninfo)
        sweep_tmp.append(sockets)


@pytest_twisted.ensureDeferred
async def test_a_path_too_long_for_a_socket_gets_a_private_one_in_tmp(home, sweep_tmp):
    inner = home / ("long" * 20) / "var"
    inner.mkdir(parents=True, mode=0o711)
    inner.parent.chmod(0o711)
    account = keeper(home / "nothing")
    async with running(await filled(inner)) as (_, conninfo):
        mode, owner, sockets = sockets_of(conninfo)
        sweep_tmp.append(sockets)
        assert sockets.parent == Path("/tmp")
        assert sockets.name.startswith(f"smsd-{account.uid}-")
        assert (mode, owner) == (0o700, account.uid)
    async with running(inner) as (_, conninfo):  # its own directory from last time is no trap
        assert ask(conninfo, "SHOW unix_socket_directories") == str(sockets)


def test_the_longest_path_that_fits_is_used(home):
    account = keeper(home / "nothing")
    room = 107 - len(str(home / "x")) - len("/run/.s.PGSQL.5432")
    for more, expected in ((0, "run"), (1, "smsd-")):
        inner = home / ("x" * (room + 1 + more))
        inner.mkdir()
        assert socket_directory(inner, account, 5432, tmp=home).name.startswith(expected)


def _link(place, home):
    (home / "elsewhere").mkdir(mode=0o700)
    place.symlink_to(home / "elsewhere")


def _file(place, home):
    place.write_text("")


def _open_to_others(place, home):
    place.mkdir()
    place.chmod(0o755)


def _of_another(place, home):
    place.mkdir(mode=0o700)
    os.chown(place, 1, 1)


@pytest.mark.parametrize(
    ("trap", "sentence"),
    [
        (_link, "is not a directory"),
        (_file, "is not a directory"),
        (_open_to_others, "is open to others"),
        pytest.param(_of_another, "belongs to daemon, not to", marks=needs_root),
    ],
)
def test_a_trap_in_tmp_is_refused(home, trap, sentence):
    account = keeper(home / "nothing")
    inner = home / ("long" * 30)
    (tmp := home / "tmp").mkdir()
    place = socket_directory(inner, account, 5432, tmp=tmp)
    place.rmdir()
    trap(place, home)
    if not place.is_symlink() and trap is not _of_another:
        os.chown(place, account.uid, account.gid)
    before = place.lstat()
    with pytest.raises(PostgresUnusable, match=sentence):
        socket_directory(inner, account, 5432, tmp=tmp)
    assert place.lstat().st_mode == before.st_mode
