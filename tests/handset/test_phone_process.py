"""``smsd phone`` as a process, against a gateway played by a library that we did not write."""

from __future__ import annotations

import json
import os
import queue
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from smsd.handset.ledger import INTERRUPTED

pytestmark = pytest.mark.whole

SECRET = "my-secret-kéy-123"
PATIENCE = 15
PROGRAM = """
import sys
from twisted.internet import task
from smsd.handset.command import main
task.react(lambda reactor: main(sys.argv[1:], reactor))
"""


class Call:
    """A phone that has called, seen from the gateway."""

    def __init__(self, socket: ServerConnection) -> None:
        self._socket = socket
        self.over = threading.Event()
        assert socket.request is not None
        self.request = socket.request

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.request.path).query)

    def say(self, **frame: Any) -> None:
        self._socket.send(json.dumps(frame))

    def hear(self) -> Any:
        return json.loads(self._socket.recv(timeout=PATIENCE))

    def greet(self) -> Any:
        """Says ``connected``; the report of SIMs that comes back."""
        self.say(type="connected", org_id="myorg")
        return self.hear()

    def push(self, ticket: int, **more: Any) -> None:
        self.say(type="send_sms", id=ticket, to="+15550100009", body="hi", sim=None, **more)

    def goodbye(self) -> int:
        """The code with which the phone closes the line."""
        with pytest.raises(ConnectionClosed):
            self._socket.recv(timeout=PATIENCE)
        return self._socket.close_code or 0

    def close(self, code: int, reason: str) -> None:
        self._socket.close(code, reason)


class Gateway:
    """Takes every call, or refuses it while there are refusals."""

    def __init__(self) -> None:
        self.refusals: list[tuple[int, dict[str, str]]] = []
        self._calls: queue.Queue[Call] = queue.Queue()
        self._taken: list[Call] = []
        self._server: Server = serve(
            self._take, "127.0.0.1", 0, process_request=self._refuse, compression=None
        )
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.socket.getsockname()[1]}"

    def next_call(self) -> Call:
        return self._calls.get(timeout=PATIENCE)

    def stop(self) -> None:
        for call in self._taken:
            call.over.set()
        self._server.shutdown()
        self._thread.join(PATIENCE)

    def _take(self, socket: ServerConnection) -> None:
        call = Call(socket)
        self._taken.append(call)
        self._calls.put(call)
        call.over.wait()

    def _refuse(self, _: ServerConnection, request: Request) -> Response | None:
        if not self.refusals:
            return None
        status, headers = self.refusals.pop(0)
        return Response(status, "Refused", Headers({"Content-Length": "0", **headers}), b"")


class PhoneProcess:
    """The program as a user starts it."""

    def __init__(self, url: str, *argv: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "--org", "myorg", "--url", url, *argv],
            env={**os.environ, "SMSD_SECRET": SECRET, "PYTHONUTF8": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> PhoneProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def shows(self, words: str) -> str:
        """The next line with these words; fails with what was shown instead."""
        seen = []
        while True:
            try:
                seen.append(self._lines.get(timeout=PATIENCE))
            except queue.Empty:
                pytest.fail(f"{words!r} is not in {seen}")
            if words in seen[-1]:
                return seen[-1]

    def everything_else(self) -> str:
        """What was shown and not yet looked at, when the program has ended."""
        self._reader.join(PATIENCE)
        return "".join(self._lines.queue)

    def type(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def end_of_input(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def fill_the_disk(self) -> None:
        """From now on no file can grow, which is what a full disk looks like to a writer."""
        _, most = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (0, most))

    def kill(self, with_signal: signal.Signals) -> None:
        self._process.send_signal(with_signal)

    def exit_code(self) -> int:
        return self._process.wait(PATIENCE)

    def complaint(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.read()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.stop()


@pytest.fixture
def started(gateway: Gateway) -> Iterator[Any]:
    """Starts phones of that gateway, and ends them with the test."""
    with ExitStack() as phones:
        yield lambda *argv: phones.enter_context(PhoneProcess(gateway.url, *argv))


def test_a_phone_gives_its_secret_in_headers_and_reports_its_sim(
    gateway: Gateway, started: Any
) -> None:
    started("--number", "+15550100001", "--slot", "1")
    call = gateway.next_call()
    assert call.request.path == "/websocket"
    assert call.request.headers["X-Org-Id"] == "myorg"
    assert call.request.headers["X-Secret-Key"].encode("latin-1").decode() == SECRET
    (sim,) = call.greet()["sims"]
    assert (sim["slot"], sim["number"]) == (1, "+15550100001")


def test_a_send_sms_is_shown_and_answered_and_every_nth_fails(
    gateway: Gateway, started: Any
) -> None:
    phone = started("--fail-every", "2")
    call = gateway.next_call()
    call.greet()
    call.push(5)
    call.push(6)
    sent, failed = call.hear(), call.hear()
    assert (sent["type"], sent["id"], sent["success"]) == ("send_result", 5, True)
    assert (failed["id"], failed["success"]) == (6, False)
    assert "every 2. SMS fails" in failed["error"]
    phone.shows("<- send_sms 5 to +15550100009: hi")
    phone.shows("-> send_result 6: failed, pretended failure")


def test_a_delay_holds_up_nothing_else(gateway: Gateway, started: Any) -> None:
    phone = started("--delay", "1")
    call = gateway.next_call()
    call.greet()
    call.push(5)
    phone.shows("send_sms 5")
    phone.type("+15550100003 hello")
    assert [call.hear()["type"], call.hear()["type"]] == ["inbound", "send_result"]


def test_a_typed_line_arrives_as_an_sms_and_is_repeated_until_it_is_stored(
    gateway: Gateway, started: Any
) -> None:
    phone = started("--number", "+15550100001")
    first = gateway.next_call()
    first.greet()
    phone.type("what is this?")
    phone.shows("+15551234567 some text")
    phone.type("+15550100003 hello there")
    told = first.hear()["message"]
    assert (told["address"], told["body"]) == ("+15550100003", "hello there")
    assert (told["sim_slot"], told["sim_number"]) == (0, "+15550100001")
    first.close(4503, "unavailable")
    phone.shows("closed: 4503 unavailable; back in")
    second = gateway.next_call()
    second.greet()
    assert second.hear()["message"] == told
    second.say(type="inbound_ack", stored=1, id=told["id"])
    phone.shows("inbound stored")


def test_the_end_of_the_input_is_not_the_end_of_the_phone(gateway: Gateway, started: Any) -> None:
    phone = started()
    call = gateway.next_call()
    call.greet()
    phone.end_of_input()
    call.push(5)
    assert call.hear()["id"] == 5


def test_a_frame_that_no_phone_knows_is_shown_and_the_line_goes_on(
    gateway: Gateway, started: Any
) -> None:
    phone = started()
    call = gateway.next_call()
    call.greet()
    call.say(type="from_the_future")
    phone.shows("a frame that this phone does not know")
    call.push(5)
    assert call.hear()["id"] == 5


@pytest.mark.parametrize(
    ("code", "words"), [(4401, "SMSD_SECRET"), (4409, "another phone that says it is this one")]
)
def test_a_line_closed_for_good_ends_the_program(
    gateway: Gateway, started: Any, code: int, words: str
) -> None:
    phone = started()
    gateway.next_call().close(code, "")
    phone.shows(words)
    assert phone.exit_code() == 1


def test_a_wrong_secret_ends_the_program(gateway: Gateway, started: Any) -> None:
    gateway.refusals.append((401, {}))
    phone = started()
    phone.shows("the gateway does not accept this OrgId with this secret or key (401)")
    assert phone.exit_code() == 1


def test_a_busy_gateway_is_called_again_when_it_says(gateway: Gateway, started: Any) -> None:
    gateway.refusals.append((429, {"Retry-After": "1"}))
    phone = started()
    shown = phone.shows("refused: 429 Refused; back in")
    assert 1 <= float(shown.split()[-2]) <= 2
    gateway.next_call().greet()


def test_ctrl_c_closes_the_line_in_order(gateway: Gateway, started: Any) -> None:
    phone = started()
    call = gateway.next_call()
    call.greet()
    phone.kill(signal.SIGINT)
    assert call.goodbye() == 1000
    assert phone.exit_code() == 0
    assert phone.complaint() == ""
    assert "back in" not in phone.everything_else()


def test_a_ledger_phone_sends_a_ticket_once_though_it_was_killed_and_asked_again(
    gateway: Gateway, started: Any, tmp_path: Path
) -> None:
    ledger = ["--ledger", str(tmp_path / "ledger")]
    phone = started(*ledger, "--delay", "600")
    first = gateway.next_call()
    assert first.query["ledger"] == ["1"]
    assert len(first.query["device_id"][0]) == 16
    sims = first.greet()
    assert re.fullmatch(r"\+1555010[0-9]{4}", sims["sims"][0]["number"])
    first.push(5, ref="ab", attempt=1)
    phone.shows("send_sms 5")
    phone.type("+15550100003 hello")
    heard = first.hear()
    phone.kill(signal.SIGKILL)
    phone.exit_code()

    again = started(*ledger)
    second = gateway.next_call()
    assert second.query == first.query
    assert second.greet() == sims
    result = second.hear()
    assert (result["ref"], result["success"], result["error"]) == ("ab", False, INTERRUPTED)
    assert second.hear() == heard
    second.push(5, ref="ab", attempt=2)
    again.shows("ticket 5 is in the ledger already: it is not sent again")
    assert second.hear() == result
    second.say(type="result_ack", id=5)
    again.shows("result of 5 acknowledged")
    second.push(6, ref="cd", attempt=1)
    assert second.hear()["ref"] == "cd"


def test_what_cannot_be_written_down_is_not_sent_and_ends_the_program(
    gateway: Gateway, started: Any, tmp_path: Path
) -> None:
    phone = started("--ledger", str(tmp_path / "ledger"))
    call = gateway.next_call()
    call.greet()
    phone.fill_the_disk()
    call.push(5, ref="ab", attempt=1)
    phone.shows("cannot be written: File too large")
    assert phone.exit_code() == 1
    assert call.goodbye() == 1006


def test_a_phone_whose_screen_is_gone_ends_quietly() -> None:
    phone = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "--org", "myorg", "--url", "ws://127.0.0.1:1"],
        env={**os.environ, "SMSD_SECRET": SECRET},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert phone.stdout is not None
    assert phone.stderr is not None
    with phone.stdout, phone.stderr:
        phone.stdout.readline()
        phone.stdout.close()
        try:
            assert phone.wait(PATIENCE) == 1
        finally:
            phone.kill()
            phone.wait(PATIENCE)
        assert phone.stderr.read() == b""


def test_a_phone_that_was_told_who_it_is_stays_so_with_a_ledger(
    gateway: Gateway, started: Any, tmp_path: Path
) -> None:
    ledger = ["--ledger", str(tmp_path / "ledger")]
    phone = started(*ledger, "--number", "+15550100001", "--device-id", "mine")
    gateway.next_call()
    phone.kill(signal.SIGKILL)
    phone.exit_code()
    started(*ledger)
    call = gateway.next_call()
    assert call.query["device_id"] == ["mine"]
    assert call.greet()["sims"][0]["number"] == "+15550100001"


def test_an_sms_typed_while_the_line_is_down_is_kept_until_it_is_up(
    gateway: Gateway, started: Any
) -> None:
    phone = started()
    first = gateway.next_call()
    first.greet()
    gateway.refusals.append((503, {"Retry-After": "2"}))
    first.close(1001, "going away")
    phone.shows("refused: 503 Refused; back in")
    phone.type("+15550100003 hello")
    phone.shows("not connected: this SMS is kept until the gateway has stored it")
    second = gateway.next_call()
    second.greet()
    assert second.hear()["message"]["body"] == "hello"


def test_a_ledger_that_is_in_use_or_anothers_is_refused(
    gateway: Gateway, started: Any, tmp_path: Path
) -> None:
    ledger = ["--ledger", str(tmp_path / "ledger")]
    first = started(*ledger)
    gateway.next_call()
    second = started(*ledger)
    assert second.exit_code() == 2
    assert "is in use by another phone" in second.complaint()
    first.kill(signal.SIGKILL)
    first.exit_code()
    third = started(*ledger, "--org", "other")
    assert third.exit_code() == 2
    assert "belongs to org myorg; take another file for org other" in third.complaint()


@pytest.mark.parametrize(
    ("argv", "words"),
    [(["--slot", "99"], "smsd phone: --slot '99'"), (["--colour"], "--colour not recognized")],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(
    started: Any, argv: list[str], words: str
) -> None:
    phone = started(*argv)
    assert phone.exit_code() == 2
    complaint = phone.complaint()
    assert words in complaint
    assert complaint.count("\n") == 1


def test_help_is_no_error(started: Any) -> None:
    phone = started("--help")
    phone.shows("Usage: smsd phone --org ORG")
    assert phone.exit_code() == 0
