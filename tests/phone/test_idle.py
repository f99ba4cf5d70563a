"""What a phone holds that only stays on line."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, ModuleType

from wires import ORG, MemoryPhone, Notes

from smsd.gateway.doorman import Caller

Connect = Callable[..., MemoryPhone]
REPORT = {"type": "sims", "sims": [{"slot": 0, "number": "+15550100001", "label": "SIM1"}]}
#: Bytes beside the socket and its transport. An empty deque takes 760, a dictionary of all that
#: Autobahn sets on a connection 1500.
MOST = 4100
#: What is not any phone's own, and text: names of attributes, mostly.
_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType, str)


def weight(roots: list[object], beyond: list[object]) -> int:
    """Bytes of all that hangs on these, but not of what is beyond."""
    met, found, total = {id(one): one for one in beyond}, [*roots], 0
    while found:
        one = found.pop()
        if id(one) not in met and not isinstance(one, _SHARED):
            met[id(one)] = one
            total += sys.getsizeof(one)
            found += gc.get_referents(one)
    return total


def test_an_idle_phone_holds_no_more_than_it_needs(connect: Connect, notes: Notes) -> None:
    phones = [connect(Caller(ORG)) for _ in range(11)]
    for phone in phones:
        phone.say(REPORT)
        assert [frame["type"] for frame in phone.frames()] == ["connected", "sims_ack"]
    links: list[object] = [phone.link for phone in phones]
    beyond = [notes, notes.events, *(phone.line for phone in phones)]
    each = (weight(links, beyond) - weight(links[:1], beyond + links[1:])) / 10
    assert 0 < each < MOST
