"""A file is there whole or not at all, and never in the place of another."""

from __future__ import annotations

import fcntl
import os

import pytest

from smsd.store.placed import placed


def test_it_appears_whole_and_for_nobody_else(tmp_path):
    before = os.umask(0)
    try:
        with placed(tmp_path / "a") as file:
            os.write(file, b"text")
            assert not (tmp_path / "a").exists()
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"text"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_who_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), placed(tmp_path / "a"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays(tmp_path):
    (tmp_path / "a").symlink_to("nowhere")
    with pytest.raises(FileExistsError), placed(tmp_path / "a"):
        raise AssertionError("not reached")
    assert (tmp_path / "a").is_symlink()


def test_what_came_meanwhile_stays(tmp_path):
    with pytest.raises(FileExistsError), placed(tmp_path / "a"):
        (tmp_path / "a").write_text("theirs")
    assert (tmp_path / "a").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_dead_process_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    (tmp_path / ".a.dead.part").touch()
    (tmp_path / ".b.dead.part").touch()
    with open(tmp_path / ".a.alive.part", "w") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        with placed(tmp_path / "a"):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".a.alive.part",
        ".b.dead.part",
        "a",
    ]
