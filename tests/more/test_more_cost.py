"""What a webhook costs, in instructions: no clock is looked at, and no busy machine matters.

The REST face from bytes to bytes, with no gateway behind it, against twisted.web's own least
answer to the same request. A change that makes it dearer must say why, and raise the limit here.
"""

from __future__ import annotations

import shutil

import pytest
from bench import cost

#: Of what bare twisted.web takes. It was 0.27 when this was written.
MOST = 0.30


@pytest.mark.long
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="not run: no valgrind (apt)")
def test_a_webhook_takes_less_than_a_third_of_what_bare_twisted_web_takes() -> None:
    found = cost.instructions()
    print({face: round(each) for face, each in found.items()})
    assert found["ours"] <= MOST * found["bare"]
