"""The ledger on a real disk."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from smsd.domain.records import Inbound
from smsd.handset.ledger import INTERRUPTED, KEPT_MS, Acknowledged, Answered, Heard, Owner, Taken
from smsd.handset.ledger_file import LedgerFile, LedgerProblem

OWNER = Owner(org_id="myorg", device_id="d1", number="+15550100001")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@contextmanager
def opened(path: Path, now: int = 0) -> Iterator[LedgerFile]:
    file = LedgerFile(str(path), now)
    try:
        yield file
    finally:
        file.close()


@contextmanager
def full_disk(at: int) -> Iterator[None]:
    """No file can grow beyond so many bytes, which is what a full disk looks like to a writer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_written_down_is_there_after_a_restart(path: Path) -> None:
    message = Inbound(address="+15550100003", body="hällo", date=7, id="x")
    with opened(path) as file:
        for entry in (OWNER, Taken("ab", 5, 1), Answered("ab", sent_at=7), Heard(message)):
            file.write_down(entry)
    with opened(path) as file:
        assert file.ledger.owner == OWNER
        assert [result.ref for result in file.ledger.unacknowledged()] == ["ab"]
        assert file.ledger.inbound == {"x": message}


def test_each_entry_is_in_the_file_before_the_phone_goes_on(path: Path) -> None:
    with opened(path) as file:
        file.write_down(Taken("ab", 5, 1))
        assert path.read_bytes() == b'{"type":"taken","ref":"ab","id":5,"at":1}\n'


def test_only_the_owner_can_read_it(path: Path) -> None:
    path.touch(0o644)
    with opened(path):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_torn_last_line_is_dropped(path: Path) -> None:
    path.write_bytes(b'{"type":"taken","ref":"ab","id":5,"at":1}\n{"type":"taken","ref":"c')
    with opened(path) as file:
        assert file.ledger.line("ab") is not None
        file.write_down(Taken("cd", 6, 1))
    with opened(path) as file:
        assert file.ledger.line("cd") is not None


def test_a_last_line_that_lacks_only_its_end_counts(path: Path) -> None:
    path.write_bytes(b'{"type":"taken","ref":"ab","id":5,"at":1}')
    with opened(path) as file:
        assert file.ledger.line("ab") is not None


@pytest.mark.parametrize("damage", [b"{", b"\x00\x00", b"", b'{"type":"answered","ref":"zz"}'])
def test_damage_before_the_last_line_stops_the_start_and_keeps_the_file(
    path: Path, damage: bytes
) -> None:
    content = damage + b'\n{"type":"taken","ref":"ab","id":5,"at":1}\n'
    path.write_bytes(content)
    with pytest.raises(LedgerProblem, match="damaged in line 1"):
        LedgerFile(str(path), 0)
    assert path.read_bytes() == content


def test_an_sms_that_was_at_the_radio_is_closed_in_the_file_too(path: Path) -> None:
    path.write_bytes(b'{"type":"taken","ref":"ab","id":5,"at":1}\n')
    with opened(path):
        assert INTERRUPTED.encode() in path.read_bytes()


def test_two_programs_cannot_share_a_ledger(path: Path) -> None:
    with opened(path), pytest.raises(LedgerProblem, match="in use"):
        LedgerFile(str(path), 0)


def test_a_ledger_that_was_closed_can_be_opened(path: Path) -> None:
    for _ in range(2):
        with opened(path):
            pass


def test_old_lines_go_at_the_next_start_and_no_other_file_is_left(path: Path) -> None:
    with opened(path) as file:
        for entry in (OWNER, Taken("ab", 5, 1), Answered("ab", sent_at=7), Acknowledged("ab")):
            file.write_down(entry)
    with opened(path, KEPT_MS + 1):
        assert path.read_bytes().count(b"\n") == 1
    assert os.listdir(path.parent) == ["ledger"]


def test_what_a_crash_left_of_a_new_file_is_in_nobodys_way(path: Path) -> None:
    left = path.with_name("ledger.new")
    left.write_bytes(b"half a li")
    left.chmod(0o644)
    with opened(path) as file:
        file.write_down(OWNER)
        assert path.stat().st_mode & 0o777 == 0o600
    with opened(path) as file:
        assert file.ledger.owner == OWNER


def test_a_link_stays_a_link(path: Path) -> None:
    real = path.with_name("real")
    path.symlink_to(real)
    with opened(path) as file:
        file.write_down(OWNER)
    assert path.is_symlink()
    assert b"owner" in real.read_bytes()


@pytest.mark.parametrize("name", ["", "nowhere/ledger"])
def test_a_place_where_no_file_can_be_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(LedgerProblem, match=r"cannot be used: (Is a|No such)"):
        LedgerFile(str(tmp_path / name), 0)


def test_a_full_disk_is_told_and_costs_no_line_that_was_written(path: Path) -> None:
    with opened(path) as file:
        file.write_down(Taken("ab", 5, 1))
        with full_disk(at=60), pytest.raises(LedgerProblem, match="cannot be written"):
            file.write_down(Taken("cd", 6, 1))
        assert path.stat().st_size == 60
    with opened(path) as file:
        assert file.ledger.line("ab") is not None
        assert file.ledger.line("cd") is None


def test_nothing_is_written_behind_a_torn_line(path: Path) -> None:
    with opened(path) as file:
        with full_disk(at=10), pytest.raises(LedgerProblem):
            file.write_down(Taken("ab", 5, 1))
        with pytest.raises(LedgerProblem, match="cannot be written"):
            file.write_down(Taken("cd", 6, 1))
        assert path.stat().st_size == 10
