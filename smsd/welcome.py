"""What a newcomer reads when the gateway is up: where it is, and three lines to paste."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_TEXT = """\
smsd is ready.

  what it is      {url}/
  try the API     {url}/docs
  phones connect  {socket}/websocket
  data            {data_dir}

Store an SMS (the first call claims the org), read it, and send one:

  curl -X POST {url}/webhook -H 'Content-Type: application/json' -d '{{"org_id":"myorg",\
"secret_key":"my-secret-key-123","messages":[{{"address":"+15551112222","body":"hi",\
"date":1700000000000}}]}}'
  curl -H 'X-Secret-Key: my-secret-key-123' {url}/messages/myorg
  curl -X POST {url}/send/myorg -H 'Content-Type: application/json' -d '{{"secret_key":\
"my-secret-key-123","to":"+15553334444","body":"sent from API"}}'

No phone at hand? In a second terminal:

  SMSD_SECRET=my-secret-key-123 .venv/bin/smsd phone --org myorg{where}
"""

_USUAL = "http://127.0.0.1:8080"


def welcome(urls: Sequence[str], data_dir: Path) -> str:
    """The text for the terminal; ``urls`` are the listeners as ``http://host:port``, the one to
    show first."""
    url = urls[0].rstrip("/") if urls else _USUAL
    text = _TEXT.format(
        url=url,
        socket=_websocket(url),
        data_dir=data_dir,
        where="" if url == _USUAL else f" --url {_websocket(url)}/websocket",
    )
    also = "".join(f"Also at {other}\n" for other in urls[1:])
    return text + also


def _websocket(url: str) -> str:
    return "ws" + url.removeprefix("http")
