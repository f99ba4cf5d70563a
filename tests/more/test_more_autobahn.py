"""Autobahn's group 9: messages of up to 16 MiB, whole, in frames and in slices."""

from __future__ import annotations

from pathlib import Path

from autobahn_cases import echo, not_good, verdicts

#: All that are over the 1 MiB which a message may have. They are closed with 1009.
REFUSED = {
    *(f"9.{group}.{case}" for group in (1, 2) for case in (4, 5, 6)),  # 4, 8 and 16 MiB
    *(f"9.{group}.{case}" for group in (3, 4) for case in range(1, 10)),  # 4 MiB in fragments
}


def test_large_messages_pass_where_no_limit_refuses_them(tmp_path: Path) -> None:
    with echo(tmp_path, "--unlimited") as url:
        found = verdicts(url, tmp_path / "report", "9.*")
    assert len(found) == 54
    assert not_good(found) == set()


def test_with_the_limit_exactly_those_over_it_are_refused(tmp_path: Path) -> None:
    with echo(tmp_path) as url:
        found = verdicts(url, tmp_path / "report", "9.*")
    assert not_good(found) == REFUSED
