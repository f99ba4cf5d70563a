"""Times as every answer tells them: RFC 3339, in UTC, with its offset written out.

Postgres writes the times of rows in this form by itself; this is for those that are made here.
What an agent may say for a time is `smsd.domain.timing`'s.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

#: A time as text, as in 2026-01-31T12:00:00.123456+00:00.
Rfc3339 = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


def rfc3339(moment: datetime) -> str:
    """msgspec alone would write a ``Z``, and Postgres does not."""
    return moment.astimezone(UTC).isoformat()


def at(seconds: float) -> str:
    """The same of a moment in seconds since 1970."""
    return rfc3339(datetime.fromtimestamp(seconds, UTC))
