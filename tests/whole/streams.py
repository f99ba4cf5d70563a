"""A reader of event streams, on a client that others wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
from visitors import Agent, Org


@dataclass
class Heard:
    """One event, as a reader knows it."""

    id: int
    type: str
    data: dict[str, Any]


class Stream:
    """A stream, read block by block. ``cursor`` is what its reader goes on from."""

    def __init__(self, answer: requests.Response) -> None:
        assert answer.status_code == 200, answer.text
        self.answer, self.cursor = answer, ""
        self._lines = answer.iter_lines(chunk_size=1, decode_unicode=True)
        self.next_block()  # where it begins

    def next_block(self) -> dict[str, str]:
        """The fields up to the next empty line; without any where the stream has ended."""
        block = {}
        for line in self._lines:
            if not line:
                self.cursor = block.get("id", self.cursor)
                return block
            name, _, value = line.partition(":")
            block[name] = value.removeprefix(" ")
        return {}

    def next(self) -> Heard:
        while block := self.next_block():
            if "data" in block:
                return Heard(int(block["id"]), block["event"], json.loads(block["data"]))
        raise AssertionError("the stream has ended")

    def has_ended(self) -> bool:
        while self.next_block():
            pass
        return True


@contextmanager
def stream(org: Org, path: str | None = None, **asked: Any) -> Iterator[Stream]:
    with Agent(org.url) as agent:
        headers = {} if path else {"X-Secret-Key": org.secret}
        with agent.get(
            path or f"/events/{org.id}", params=asked, headers=headers, stream=True
        ) as answer:
            yield Stream(answer)
