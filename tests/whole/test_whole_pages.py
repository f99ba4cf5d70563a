"""Whoever follows the pages of docs/ from top to bottom sees what they show, in curl and Python."""

from __future__ import annotations

import doctest
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from console import DOCS, Shell, hold, matches
from daemon import Daemon, bare_environment, new_home
from handset import Handset
from visitors import Org, Phone, calling, until

pytestmark = pytest.mark.whole

USUAL = "127.0.0.1:8080"
SECRET = "my-secret-key-123"
SIM = {"slot": 0, "number": "+15550100001", "label": "SIM1", "carrier": "AT&T"}

curl_is_here = pytest.mark.skipif(not shutil.which("curl"), reason="apt-get install curl")


@pytest.fixture
def own() -> Iterator[Daemon]:
    """A gateway on which nothing has happened yet."""
    with new_home() as home, Daemon(home) as daemon:
        yield daemon


def terminal(gateway: Daemon) -> Shell:
    """Where curl shows nothing but answers."""
    (gateway.home / ".curlrc").write_text("silent\nshow-error\nnoproxy = *\n")
    environ = bare_environment(CURL_HOME=str(gateway.home))
    return Shell(gateway.home, environ, [(USUAL, f"127.0.0.1:{gateway.port}")])


# -- quickstart.md ---------------------------------------------------------------------------


class Newcomer:
    """At a terminal, and at a phone in another one."""

    def __init__(self, gateway: Daemon, stack: ExitStack) -> None:
        self._gateway, self._stack, self._shell = gateway, stack, terminal(gateway)
        self._org = Org(gateway.url, "myorg", SECRET)
        stack.enter_context(self._org.agent)

    def __call__(self, command: str) -> str:
        return self._be_the_phone() if "smsd phone" in command else self._shell(command)

    def _be_the_phone(self) -> str:
        """What it shows until it has sent; then a line is typed, as the page asks for."""
        phone = self._stack.enter_context(Handset(self._gateway.socket_url, "myorg", SECRET))
        shown = phone.shows_until("-> send_result")
        until(lambda: self._org.read(status="sent"))
        phone.type("+15551112222 hello")
        until(lambda: self._org.read(direction="in", since_id=1))
        return shown.replace(f":{self._gateway.port}", ":8080")


@curl_is_here
def test_every_command_of_the_quickstart_page_answers_as_the_page_says(own: Daemon) -> None:
    with ExitStack() as stack:
        hold(DOCS / "quickstart.md", Newcomer(own, stack))


def test_a_start_says_what_the_quickstart_page_says(own: Daemon) -> None:
    page = (DOCS / "quickstart.md").read_text("utf-8")
    (shown,) = re.findall(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    said = own.said[: own.said.index("\n\nStore")] + "\n"
    assert matches(shown, said.replace(f":{own.port}", ":8080"))


# -- protocol.md -----------------------------------------------------------------------------


def exchanges() -> list[list[tuple[str, str]]]:
    """What the page shows of both sides where the phone speaks first: arrows and frames."""
    page = (DOCS / "protocol.md").read_text("utf-8")
    fences = re.findall(r"^```\n(→ \{.*?)^```$", page, re.MULTILINE | re.DOTALL)
    shown = [re.findall(r"^([→←]) (\{.*\})$", fence, re.MULTILINE) for fence in fences]
    return [lines for lines in shown if lines[-1][0] == "←"]


def test_the_gateway_answers_a_phone_as_the_protocol_page_says(own: Daemon) -> None:
    with calling(own.socket_url) as phone:
        for arrow, frame in [line for exchange in exchanges() for line in exchange]:
            said = frame.replace('"SECRET"', f'"{SECRET}"')
            if arrow == "→":
                phone.socket.send(said)
            else:
                assert matches(f"{frame}\n", f"{json.dumps(phone.hear(), separators=(',', ':'))}\n")
    assert len(exchanges()) >= 5


# -- rest.md ---------------------------------------------------------------------------------


class Confirming:
    """The org's phone, which confirms each ticket before anybody looks again."""

    def __init__(self, org: Org, phone: Phone) -> None:
        self._org, self._phone = org, phone

    def catch_up(self) -> None:
        while self._org.read(status="sending"):
            while (frame := self._phone.hear())["type"] != "send_sms":
                pass
            self._phone.confirm(frame["id"], sent_at=1700000100000)
            self._org.settled(frame["id"])


@pytest.fixture
def phone(own: Daemon) -> Iterator[Confirming]:
    org = Org(own.url, "myorg", SECRET)
    with org.agent, org.phone(SIM) as phone:
        yield Confirming(org, phone)


@curl_is_here
def test_every_curl_of_the_rest_page_answers_as_the_page_says(
    own: Daemon, phone: Confirming
) -> None:
    shell = terminal(own)

    def answer(command: str) -> str:
        phone.catch_up()
        return shell(command)

    hold(DOCS / "rest.md", answer)


def python_of(page: Path, url: str) -> list[doctest.Example]:
    """Its examples for Python in their order, talking to this gateway."""
    text = page.read_text("utf-8").replace(f"http://{USUAL}", url)
    fences = re.findall(r"^```pycon\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return doctest.DocTestParser().get_examples("".join(fences), page.name)


def test_every_line_of_python_of_the_rest_page_answers_as_the_page_says(
    own: Daemon, phone: Confirming
) -> None:
    examples = python_of(DOCS / "rest.md", own.url)
    assert len(examples) > 10
    names: dict[str, object] = {}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for example in examples:
        phone.catch_up()
        once = doctest.DocTest([example], names, "rest.md", "rest.md", 0, None)
        assert runner.run(once, clear_globs=False).failed == 0, example.source
        names = once.globs
