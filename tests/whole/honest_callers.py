"""For schemathesis: whoever sends good data says who they are, in the same words everywhere.

The document cannot say that a secret in the body must be the one in the header; generated ones
never would be. Nor can it say that an Idempotency-Key is for one call only, or which times are
ahead. Only data that is meant to be good is made so; the bad is left as bad as it is. And nobody is
as patient as he may be.
"""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import schemathesis
from schemathesis import GenerationMode

#: Ours must open all other calls, also once one has set another secret. Seconds.
LONG = 31_536_000
#: For so long a call waits. Seconds.
SHORT = 0.05
OURS = {"org_id": os.environ["HONEST_ORG"], "secret_key": os.environ["HONEST_SECRET"]}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    if isinstance(case.query, dict) and "wait" in case.query:
        hasten(case.query)
    if isinstance(case.body, dict) and case.path.startswith("/ask/"):
        hasten(case.body)
    meta = case.meta
    if meta is None or meta.generation.mode is not GenerationMode.POSITIVE:
        return
    for part in (case.body, case.path_parameters, case.query):
        if isinstance(part, dict):
            part.update({name: mine for name, mine in OURS.items() if name in part})
    if isinstance(case.body, dict) and "new_secret_key" in case.body:
        case.body["grace"] = LONG
    for timed in _drafts(case.body):
        _in_time(timed)
    for name in case.headers or ():
        if name.lower() == "idempotency-key":
            case.headers[name] = str(uuid.uuid4())


def _drafts(body: Any) -> list[dict[str, Any]]:
    """All in a body that may have times: itself, and each of its messages."""
    if not isinstance(body, dict):
        return []
    messages = body.get("messages")
    each = [body, *(messages if isinstance(messages, list) else ())]
    return [one for one in each if isinstance(one, dict)]


def _in_time(draft: dict[str, Any]) -> None:
    now = datetime.now(UTC)
    if draft.get("send_at") is not None:
        draft["send_at"] = (now + timedelta(hours=1)).isoformat()
    if draft.get("expires_at") is not None:
        draft["expires_at"] = (now + timedelta(hours=2)).isoformat()
        draft.pop("ttl", None)


def hasten(part: dict[str, Any]) -> None:
    """Wait for a moment where a long time was asked for, or is the default."""
    wait = part.get("wait", 60)
    try:
        if not isinstance(wait, bool) and SHORT < float(wait) <= 60:
            part["wait"] = type(wait)(SHORT) if isinstance(wait, str | float) else 0
    except (TypeError, ValueError):
        pass  # bad as it is
