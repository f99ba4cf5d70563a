"""The whole way in and out: REST in front, a real database behind, real sockets between."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

import pytest
import pytest_twisted
from sockets import ORG, SECRET, Running
from twisted.internet import reactor as reactor_
from twisted.internet.defer import Deferred
from websockets.exceptions import InvalidStatus
from wires import HANDSHAKE, inbound, text

from smsd.store.statements import Statement

reactor: Any = reactor_

GOOD = f"?org_id={ORG}&secret_key={SECRET}"
WRONG = f"?org_id={ORG}&secret_key=wrong-secret-key-1"
NUMBER = "+15550100001"


def sims(*numbers: str | None) -> dict[str, Any]:
    return {
        "type": "sims",
        "sims": [{"slot": at, "number": number} for at, number in enumerate(numbers)],
    }


@pytest_twisted.ensureDeferred
async def test_a_text_goes_out_and_comes_back_as_sent(running: Running) -> None:
    def conversation(gateway: Running) -> None:
        with gateway.on_line() as phone:
            phone.say(**sims(NUMBER))
            assert phone.hear() == {"type": "sims_ack", "count": 1}
            result = gateway.send(sim=NUMBER)
            assert phone.hear() == {
                "type": "send_sms",
                "id": result["id"],
                "to": "+15550100002",
                "body": "hi",
                "sim": NUMBER,
            }
            phone.say(type="send_result", id=result["id"], success=True)
            row = gateway.on_the_row(result["id"], "sent")
            assert (row["sim_slot"], row["sim_number"]) == (0, NUMBER)

    await running.do(conversation)


@pytest_twisted.ensureDeferred
async def test_what_waited_is_pushed_when_the_phone_comes(running: Running) -> None:
    def conversation(gateway: Running) -> None:
        with gateway.on_line():
            pass
        waiting = [gateway.send(body=f"{n}", sim=0)["id"] for n in range(3)]
        assert [row["status"] for row in gateway.tickets()] == ["queued"] * 3
        with gateway.on_line() as phone:
            phone.say(**sims(None))
            heard = [phone.hear() for _ in range(4)]
        pushed = [frame for frame in heard if frame["type"] == "send_sms"]
        assert [frame["id"] for frame in pushed] == waiting
        assert [frame["sim"] for frame in pushed] == ["0"] * 3

    await running.do(conversation)


@pytest_twisted.ensureDeferred
async def test_a_ledger_phone_over_a_real_socket(running: Running) -> None:
    def conversation(gateway: Running) -> None:
        with gateway.on_line(device_id="mine", ledger="1") as phone:
            gateway.send()
            frame = phone.hear()
            assert (len(frame["ref"]), frame["attempt"]) == (32, 1)
            phone.say(type="send_result", id=frame["id"], success=True, ref="\0")
            phone.say(type="send_result", id=frame["id"], success=True, ref=frame["ref"])
            assert phone.hear() == {"type": "result_ack", "id": frame["id"]}

    await running.do(conversation)


@pytest_twisted.ensureDeferred
async def test_an_sms_is_stored_once_and_found(running: Running) -> None:
    def conversation(gateway: Running) -> None:
        with gateway.on_line() as phone:
            phone.say(**sims(NUMBER))
            phone.say(**inbound(id="7", date=1700000000000, sim_slot=0))
            phone.say(**inbound(id="7", date=1700000000000, sim_slot=0))
            phone.say(**inbound(body="\0", sim_slot=-1, sim_number="\0"))
            heard = [phone.hear() for _ in range(4)]
            acks = [frame for frame in heard if frame["type"] == "inbound_ack"]
            assert [ack.get("id") for ack in acks] == ["7", "7", None]
        _, answer = gateway.ask(f"/messages/{ORG}?direction=in")
        first, second = answer["messages"]
        assert (first["body"], first["sim_number"]) == ("hello", NUMBER)
        assert (second["body"], second["sim_slot"]) == ("\ufffd", None)

    await running.do(conversation)


@pytest_twisted.ensureDeferred
async def test_a_first_auth_frame_claims_the_org(running: Running) -> None:
    def conversation(gateway: Running) -> None:
        with gateway.phone("") as phone:
            phone.say(type="auth", org_id=ORG, secret_key=SECRET)
            assert phone.hear() == {"type": "connected", "org_id": ORG}
        assert gateway.ask(f"/messages/{ORG}")[0] == 200

    await running.do(conversation)


@pytest_twisted.ensureDeferred
async def test_an_auth_frame_that_cannot_claim_says_why(running: Running) -> None:
    def conversation(gateway: Running) -> None:
        with gateway.phone("") as phone:
            phone.say(type="auth", org_id=ORG, secret_key="short")
            error = phone.hear()
            assert error["code"] == "invalid"
            assert "secret_key 12 to 50 characters" in error["detail"]
            assert phone.farewell() == 4401

    await running.do(conversation)
    assert await running.count("orgs") == 0


@pytest_twisted.ensureDeferred
async def test_wrong_secrets_are_refused_and_then_locked_out(running: Running) -> None:
    def try_frame(gateway: Running) -> tuple[str, int]:
        with gateway.phone("") as phone:
            phone.say(type="auth", org_id=ORG, secret_key="wrong-secret-key-1")
            return phone.hear()["code"], phone.farewell()

    def conversation(gateway: Running) -> None:
        assert gateway.ask("/webhook", {"org_id": ORG, "messages": []})[0] == 200
        for _ in range(9):
            assert try_frame(gateway) == ("unauthorised", 4401)
        with pytest.raises(InvalidStatus) as refused, gateway.phone(WRONG):
            pass
        assert refused.value.response.status_code == 401
        assert refused.value.response.headers["Content-Type"] == "application/problem+json"
        assert try_frame(gateway) == ("locked", 4429)
        with pytest.raises(InvalidStatus) as locked, gateway.phone(WRONG):
            pass
        assert locked.value.response.status_code == 429
        assert 0 < int(locked.value.response.headers["Retry-After"]) <= 300

    await running.do(conversation)


@pytest_twisted.ensureDeferred
async def test_a_device_that_comes_again_takes_over(running: Running) -> None:
    def conversation(gateway: Running) -> None:
        with gateway.on_line(device_id="mine") as old, gateway.on_line(device_id="mine") as new:
            assert old.farewell() == 4409
            assert new.sync() == []
            with gateway.on_line(device_id="other") as other:
                other.say(**sims(NUMBER))
                new.say(**sims(NUMBER))
                assert other.hear()["type"] == new.hear()["type"] == "sims_ack"
                assert other.sync() == new.sync() == []

    await running.do(conversation)


@pytest_twisted.ensureDeferred
async def test_a_number_that_comes_again_takes_over_but_no_slot_does(running: Running) -> None:
    def conversation(gateway: Running) -> None:
        with gateway.on_line() as first, gateway.on_line() as second, gateway.on_line() as third:
            first.say(**sims(NUMBER, None))
            second.say(**sims("", None))
            third.say(**sims("", ""))
            for phone in (first, second, third):
                assert phone.hear() == {"type": "sims_ack", "count": 2}
            second.say(**sims("", "1 (555) 010-0001"))
            assert first.farewell() == 4409
            assert third.sync() == []

    await running.do(conversation)


@pytest_twisted.ensureDeferred
async def test_the_sixth_takeover_in_a_minute_is_sent_away(running: Running) -> None:
    def flapping(gateway: Running) -> list[int]:
        codes = []
        with gateway.on_line(device_id="mine") as first:
            stack = contextlib.ExitStack()
            holders = [first]
            for _ in range(6):
                phone = stack.enter_context(gateway.phone(f"{GOOD}&device_id=mine"))
                if phone.hear()["type"] == "error":
                    codes.append(phone.farewell())
                else:
                    assert holders[-1].farewell() == 4409
                    holders.append(phone)
            assert holders[-1].sync() == []
            stack.close()
        return codes

    assert await running.do(flapping) == [4503]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "odd",
    [
        sims(NUMBER, NUMBER),
        {"type": "sims", "sims": [{"slot": 0}, {"slot": 0}]},
        {"type": "sims", "sims": [{"slot": 0, "number": "\0", "label": "\0", "carrier": "\0"}]},
        {"type": "sims", "sims": [{"slot": 0, "number": "no digits"}]},
        {"type": "sims", "sims": []},
    ],
)
async def test_odd_reports_of_sims_are_taken(running: Running, odd: dict[str, Any]) -> None:
    def conversation(gateway: Running) -> None:
        with gateway.on_line() as phone:
            phone.say(**odd)
            assert phone.hear() == {"type": "sims_ack", "count": len(odd["sims"])}
            status, answer = gateway.ask(f"/sims/{ORG}")
            assert (status, len(answer["live_sims"])) == (200, len(odd["sims"]))

    await running.do(conversation)


@pytest_twisted.ensureDeferred
async def test_a_phone_that_goes_leaves_no_row(running: Running) -> None:
    def conversation(gateway: Running) -> None:
        with gateway.on_line() as phone:
            phone.sync()

    await running.do(conversation)
    await running.empties("sessions")
    await running.alone()


@pytest_twisted.ensureDeferred
async def test_a_phone_that_goes_while_it_is_admitted_leaves_no_row(running: Running) -> None:
    head = HANDSHAKE.replace(b"/websocket", f"/websocket{GOOD}".encode())

    def conversation(gateway: Running) -> None:
        for _ in range(5):
            with gateway.raw() as line:
                line.sendall(head + text({"type": "ping"}))
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    await running.do(conversation)
    await running.alone()
    await running.empties("sessions")


@pytest_twisted.ensureDeferred
async def test_bytes_behind_the_handshake_on_a_real_socket(running: Running) -> None:
    head = HANDSHAKE.replace(b"/websocket", f"/websocket{GOOD}".encode())

    def conversation(gateway: Running) -> bytes:
        with gateway.raw() as line:
            line.sendall(head + text(inbound(id=1)) + text({"type": "ping"}))
            heard = b""
            while b'"id":1' not in heard or b'"pong"' not in heard:
                more = line.recv(65536)
                assert more, heard
                heard += more
            return heard

    heard = await running.do(conversation)
    assert heard.startswith(b"HTTP/1.1 101 ")
    assert heard.index(b'"connected"') < heard.index(b'"inbound_ack"')


@pytest_twisted.ensureDeferred
async def test_nagle_is_off_and_nothing_is_compressed(running: Running) -> None:
    def conversation(gateway: Running) -> None:
        with gateway.on_line() as phone:
            assert phone.line.protocol.extensions == []
            (link,) = gateway.links
            line = link.transport.getHandle()
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0

    await running.do(conversation)


@pytest_twisted.ensureDeferred
async def test_the_secret_is_not_kept_with_the_connection(running: Running) -> None:
    def conversation(gateway: Running) -> None:
        with gateway.on_line() as phone:
            phone.sync()
            (link,) = gateway.links
            assert SECRET not in repr(vars(link))

    await running.do(conversation)


@pytest_twisted.ensureDeferred
async def test_a_device_name_with_nul_is_refused_in_both_places(running: Running) -> None:
    def conversation(gateway: Running) -> None:
        with pytest.raises(InvalidStatus) as refused, gateway.phone(f"{GOOD}&device_id=%00"):
            pass
        assert refused.value.response.status_code == 422
        with gateway.phone("") as phone:
            phone.say(type="auth", org_id=ORG, secret_key=SECRET, device_id="\0")
            assert "device_id must be" in json.dumps(phone.hear())
            assert phone.farewell() == 4401

    await running.do(conversation)


@pytest_twisted.ensureDeferred
async def test_at_a_shutdown_phones_hear_1001(running: Running) -> None:
    def conversation(gateway: Running) -> int:
        with gateway.on_line() as phone, gateway.phone("") as stranger:
            phone.sync()
            stopping(gateway)
            return phone.farewell() + stranger.farewell()

    def stopping(gateway: Running) -> None:
        reactor.callFromThread(lambda: Deferred.fromCoroutine(gateway.end()))

    assert await running.do(conversation) == 2002


class Deleting:
    """A database in which the orgs are deleted just before an arrival or a report is stored."""

    def __init__(self, database: Any, before: str) -> None:
        self._database = database
        self._before = before

    async def run(self, statement: Statement, **parameters: object) -> Any:
        if statement.name == self._before:
            await self._database.run(Statement("delete", "DELETE FROM orgs RETURNING 1"))
        return await self._database.run(statement, **parameters)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("before", ["begin_sessions", "report_sims"])
async def test_a_phone_whose_org_is_deleted_as_it_comes_is_told_so(
    running: Running, before: str
) -> None:
    attendance: Any = running.parts._attendance
    attendance._database = Deleting(running.database, before)

    def conversation(gateway: Running) -> int:
        with gateway.phone() as phone:
            phone.say(**sims(NUMBER))
            return phone.farewell()

    assert await running.do(conversation) == 4401
    await running.alone()
