"""Who posts next: places for posts that end soon, and others for those that do not.

A post begins at a quick place, gives it free once it has taken long, and goes on at a slow one. Who
failed last is slow from the beginning, and who never took anything leaves some of the quick places
to those who did. So endpoints that never answer, however many there are and whoever has them, hold
up only each other. Which of them is due, and how many posts one endpoint may get, is not here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from smsd.store.posts import HookKey, Standing

#: Quick places of a node, and those of them that a single org may hold.
QUICK, QUICK_OF_ORG = 64, 8
#: The same for hooks that have taken nothing yet.
FRESH, FRESH_OF_ORG = 48, 6
#: Slow places of a node; those of them in which a hook may begin that failed last; and how many of
#: an org's posts may be slow when another of its hooks begins there.
SLOW, FAILING, FAILING_OF_ORG = 192, 96, 8
#: All posts of a node.
ALL = QUICK + SLOW
#: A post that is on its way for so long is slow. Seconds.
LONG = 1.0


class Places:
    """The places of a node; ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        #: When each began its last post, or came.
        self._quick: dict[HookKey, float] = {}
        self._slow: set[HookKey] = set()
        self._of: dict[str, set[HookKey]] = {}

    def __len__(self) -> int:
        return len(self._quick) + len(self._slow)

    @property
    def slow(self) -> int:
        """How many of them wait for an answer that does not come soon."""
        return len(self._slow)

    def taken(self) -> list[HookKey]:
        """Who holds a place."""
        return [*self._quick, *self._slow]

    def of(self, org_id: str) -> Collection[HookKey]:
        """Which of an org's hooks hold one."""
        return self._of.get(org_id, ())

    def take(self, hook: HookKey, standing: Standing) -> bool:
        """Whether there was a place for it, which it holds now."""
        if standing == "failing":
            if not self._room_for_failing(hook[0]):
                return False
            self._slow.add(hook)
        elif self._room(hook[0], fresh=standing == "fresh"):
            self._quick[hook] = self._clock()
        else:
            return False
        self._of.setdefault(hook[0], set()).add(hook)
        return True

    def begins(self, hook: HookKey) -> None:
        """What it posted before was taken, and the next post is on its way."""
        if hook in self._quick:
            self._quick[hook] = self._clock()

    def leave(self, hook: HookKey) -> None:
        self._quick.pop(hook, None)
        self._slow.discard(hook)
        of_org = self._of[hook[0]]
        of_org.discard(hook)
        if not of_org:
            del self._of[hook[0]]

    def set_aside(self) -> None:
        """Those that have taken long give their quick places free; to be called every second."""
        late = self._clock() - LONG
        for hook in [hook for hook, begun in self._quick.items() if begun <= late]:
            if len(self._slow) < SLOW:
                del self._quick[hook]
                self._slow.add(hook)

    def _room_for_failing(self, org_id: str) -> bool:
        of_org = sum(hook in self._slow for hook in self.of(org_id))
        return len(self._slow) < FAILING and of_org < FAILING_OF_ORG

    def _room(self, org_id: str, *, fresh: bool) -> bool:
        of_org = sum(hook in self._quick for hook in self.of(org_id))
        if fresh:
            return len(self._quick) < FRESH and of_org < FRESH_OF_ORG
        return len(self._quick) < QUICK and of_org < QUICK_OF_ORG
