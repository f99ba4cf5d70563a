"""Waiting for something to come true, and no longer than it may take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


async def comes_true(look: Callable[[], Awaitable[bool]], within: float) -> bool:
    """Whether it does within so many seconds; looked for again and again."""
    end = time.monotonic() + within
    while not await look():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.05)
    return True
