"""The long and the odd: tests that need tools which are not Python's, or more time than a change
should wait for. ``make test-more`` runs them; ``make test`` does not.
"""

from __future__ import annotations

import sys
from pathlib import Path

# The daemon, its visitors and the canaries are those of the tests of the whole.
sys.path.insert(0, str(Path(__file__).parents[1] / "whole"))
