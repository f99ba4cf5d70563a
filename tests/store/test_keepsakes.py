"""What a node keeps: a pepper that is made once and whole, a name that it finds again."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from smsd.store import keepsakes
from smsd.store.keepsakes import NODES, KeepsakeUnusable, NodeName, pepper

MAKE = "import sys; from pathlib import Path; from smsd.store.keepsakes import pepper;"
MAKE += "print(pepper(Path(sys.argv[1])).id)"


def test_a_pepper_is_made_on_the_first_start_and_the_same_ever_after(tmp_path):
    made = pepper(tmp_path)
    assert len(made.key) == 2 * keepsakes.PEPPER_BYTES
    assert pepper(tmp_path) == made
    assert [path.name for path in tmp_path.iterdir()] == ["pepper"]


def test_two_directories_have_two_peppers(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    assert pepper(tmp_path / "one") != pepper(tmp_path / "other")


def test_nobody_else_may_read_the_pepper(tmp_path):
    pepper(tmp_path)
    assert (tmp_path / "pepper").stat().st_mode & 0o777 == 0o600


def test_daemons_that_start_at_once_have_one_pepper(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: pepper(tmp_path), range(64)))
    assert len(set(found)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["pepper"]


def test_another_process_finds_the_same_pepper(tmp_path):
    told = subprocess.run(
        [sys.executable, "-c", MAKE, str(tmp_path)], check=True, capture_output=True, text=True
    ).stdout
    assert pepper(tmp_path).id == told.strip()


def test_a_pepper_of_the_operators_own_may_end_in_a_line_feed(tmp_path):
    (tmp_path / "pepper").write_bytes(b"k" * 40 + b"\n")
    assert pepper(tmp_path).key == b"k" * 40


@pytest.mark.parametrize("rest", [b"", b"k" * 31, b"k" * 31 + b"\n"])
def test_a_pepper_that_is_not_whole_stops_the_start_and_is_left_alone(tmp_path, rest):
    path = tmp_path / "pepper"
    path.write_bytes(rest)
    with pytest.raises(KeepsakeUnusable, match="too short") as caught:
        pepper(tmp_path)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == rest


def test_a_pepper_that_cannot_be_read_stops_the_start(tmp_path):
    (tmp_path / "pepper").mkdir()
    with pytest.raises(KeepsakeUnusable, match="cannot read the pepper"):
        pepper(tmp_path)


def test_a_node_has_its_name_again_after_a_restart(tmp_path):
    first = NodeName(tmp_path)
    first.release()
    again = NodeName(tmp_path)
    assert again.node_id == first.node_id
    assert len(again.node_id) == 16
    again.release()


def test_daemons_that_share_a_directory_have_names_of_their_own(tmp_path):
    names = [NodeName(tmp_path) for _ in range(3)]
    assert len({name.node_id for name in names}) == 3
    names[1].release()
    again = NodeName(tmp_path)
    assert again.node_id == names[1].node_id
    for name in (names[0], names[2], again):
        name.release()


def test_when_all_names_are_taken_the_start_says_so(tmp_path):
    names = [NodeName(tmp_path) for _ in range(NODES)]
    with pytest.raises(KeepsakeUnusable, match=f"{NODES} daemons"):
        NodeName(tmp_path)
    for name in names:
        name.release()


@pytest.mark.parametrize("left", [b"", b"\n", b"\xff\xff"])
def test_a_name_that_was_never_written_whole_is_made_anew(tmp_path, left):
    (tmp_path / "node-0").write_bytes(left)
    name = NodeName(tmp_path)
    assert len(name.node_id) == 16
    name.release()
    again = NodeName(tmp_path)
    assert again.node_id == name.node_id
    again.release()
