"""Programs from the system's package manager; whoever lacks one is told what was not run."""

from __future__ import annotations

import shutil

import pytest


def tool(name: str) -> str:
    """The path of a program; without it the test is skipped, and says so."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"not run: {name} is not installed (apt-get install {name})")
    return found
