"""RFC 6455 as others test it: the cases of Autobahn's test suite against our own connections.

Groups 1 to 7 and 10 (framing, pings, reserved bits, opcodes, fragments, UTF-8, closing), with every
option as in production. Group 9 is made of large messages and run by ``make test-more``; 12 and 13
are about permessage-deflate, which is not offered.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from autobahn_cases import echo, not_good, verdicts

pytestmark = pytest.mark.whole

GROUPS = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*")
#: Cases that we refuse, and why. A case that comes to pass must leave this list.
REFUSED: dict[str, str] = {}


def test_every_case_of_autobahn_passes_but_for_what_we_refuse(tmp_path: Path) -> None:
    with echo(tmp_path) as url:
        found = verdicts(url, tmp_path / "report", *GROUPS)
    assert len(found) == 247
    assert not_good(found) == set(REFUSED)
