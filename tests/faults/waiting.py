"""Waiting for something to come true or to run out, and no longer than it may take."""

from __future__ import annotations

import asyncio
import math
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


async def runs_out(left: Callable[[], Awaitable[int]], within: float) -> bool:
    """Whether nothing is left in the end: waited for as long as it becomes less at least once in
    so many seconds, however much there was."""
    fewest, end = math.inf, 0.0
    while now := await left():
        if now < fewest:
            fewest, end = now, time.monotonic() + within
        elif time.monotonic() > end:
            return False
        await asyncio.sleep(0.05)
    return True
