"""Event streams as others read them: a browser's EventSource, curl, and who reads nothing."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import PageServer, looking_at, serving
from daemon import PATIENCE, Daemon, new_home
from sighted import SHOWN, Metrics
from tools import tool
from visitors import Org, until

#: Tells the server of all that happens to a stream, in order.
PAGE = """<!doctype html><title>a page</title><script>
let before = Promise.resolve();
const tell = (what) => {
  before = before.then(() => fetch("/told", {method: "POST", body: JSON.stringify(what)}));
};
const stream = new EventSource(%s);
stream.onopen = () => tell({opened: true});
stream.onerror = () => tell({error: stream.readyState});
stream.onmessage = (event) => tell({unnamed: event.data});
stream.addEventListener("message.received", (event) => {
  tell({cursor: event.lastEventId, sms: JSON.parse(event.data).id});
});
</script>
"""


@pytest.fixture
def home() -> Iterator[Path]:
    with new_home() as home:
        yield home


@pytest.fixture
def pages() -> Iterator[PageServer]:
    with serving() as server:
        yield server


def test_an_event_source_comes_back_by_itself_and_misses_nothing(
    home: Path, pages: PageServer, tmp_path: Path
) -> None:
    """Through a restart in order before it was told of anything, and through a kill after that."""

    def heard() -> list[int]:
        return [told["sms"] for told in pages.told if "sms" in told]

    def opened() -> int:
        return sum("opened" in told for told in pages.told)

    origin = ("--allow-origins", pages.url)
    with ExitStack() as stack:
        with Daemon(home, *origin) as gateway:
            org, port = Org(gateway.url).claim(), gateway.port
            pages.page = PAGE % json.dumps(f"{org.url}/events/{org.path_form}")
            stack.enter_context(looking_at(pages.url, tmp_path))
            until(opened)
            gateway.stop()
        with Daemon(home, *origin, port=port) as gateway:
            org.store(*[org.sms() for _ in range(60)])
            until(lambda: len(heard()) >= 60)
            org.store(org.sms())
            until(lambda: len(heard()) >= 61)
            gateway.kill()
        org.agent.close()
        with Daemon(home, *origin, port=port):
            org.store(*[org.sms() for _ in range(60)])
            until(lambda: len(heard()) >= 121)
            org.agent.close()
    assert heard() == list(range(1, 122))
    cursors = [int(told["cursor"]) for told in pages.told if "cursor" in told]
    assert cursors == sorted(set(cursors))
    assert [told for told in pages.told if "unnamed" in told] == []
    assert opened() >= 3


def test_curl_shows_events_as_they_come(home: Path) -> None:
    with Daemon(home) as gateway:
        org = Org(gateway.url).claim()
        command = [tool("curl"), "-sSN", f"{org.url}/events/{org.path_form}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
            assert curl.stdout is not None
            assert curl.stdout.readline().startswith("retry: ")
            org.store(org.sms())
            shown = [curl.stdout.readline() for _ in range(5)]
            gateway.stop()
            assert curl.wait(PATIENCE) == 0
        org.agent.close()
    assert shown[3] == "event: message.received\n"
    assert json.loads(shown[4].removeprefix("data: "))["id"] == 1


def test_who_reads_nothing_is_cut_and_others_hear_on(home: Path) -> None:
    with Daemon(home, *SHOWN) as gateway:
        org, metrics = Org(gateway.url).claim(), Metrics(gateway)
        target = urlsplit(org.url)
        store_much(org)
        before = _memory(gateway)
        with socket.socket() as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect((target.hostname, target.port))
            line.sendall(f"GET /events/{org.path_form} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            metrics.wait_for("smsd_event_streams", 1)
            store_much(org)
            metrics.wait_for("smsd_event_streams_cut_total", 1)
            metrics.wait_for("smsd_event_streams", 0)
            assert _memory(gateway) - before < 8 << 20
        org.agent.close()


def store_much(org: Org) -> None:
    """Fifteen megabytes of SMS."""
    for _ in range(30):
        assert org.store(*[org.sms("x" * 50_000) for _ in range(10)]).status_code == 200


def _memory(gateway: Daemon) -> int:
    """What it holds. Bytes."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) << 10
