"""The commands of docs/hooks.md, against a gateway that may post to this machine."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from console import DOCS, VARIES, hold
from daemon import Daemon, new_home
from test_whole_pages import terminal
from visitors import Org

pytestmark = pytest.mark.whole

#: Where the page posts to.
APP = "https://app.example.com/sms"
#: What differs from run to run, and what the page has for it.
DIFFERS = (
    *VARIES,
    (r"whsec_[A-Za-z0-9+/=]+", "whsec_1b6mCV0sHfXl7Kq4yTn2ZQe8dPwJr5uA3oGvLxMiBtE="),
    (r'"id":"[0-9a-f]{12}"', '"id":"7c1e0b94a2f8"'),
    (r'"cursor":[0-9]+', '"cursor":41'),
    (r'"ms":[0-9]+', '"ms":3'),
)


@pytest.mark.skipif(not shutil.which("curl"), reason="apt-get install curl")
def test_every_command_of_the_page_answers_as_the_page_says() -> None:
    with new_home() as home, Daemon(home, "--hooks-allow", "127.0.0.0/8") as own, nobody() as url:
        org, shell = Org(own.url, "myorg", "my-secret-key-123").claim(), terminal(own)

        def answer(command: str) -> str:
            hooks = org.agent.get(f"/hooks/{org.id}").json()["hooks"]
            command = command.replace("7c1e0b94a2f8", hooks[0]["id"] if hooks else "")
            return shell(command.replace(APP, url)).replace(url, APP)

        with org.agent:
            hold(DOCS / "hooks.md", answer, DIFFERS)


@contextmanager
def nobody() -> Iterator[str]:
    """Where nobody accepts a connection."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/sms"
