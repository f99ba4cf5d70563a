"""How what was counted is put into Prometheus' words, and what may be a label."""

from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from twisted.internet.task import Clock

from smsd.domain.tallies import Spread
from smsd.sight.catalogue import METRICS
from smsd.sight.lag import EVERY, Lag
from smsd.sight.metric import Reading, counter, gauge, histogram

#: Each takes one of few values. None is for an org, a phone or a number.
LABELS = {"method", "route", "status", "direction", "outcome", "state", "lane", "version"}


def page(*metrics: Any, **node: Any) -> list[str]:
    """The samples of a node as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(Reading(metrics, SimpleNamespace(**node)))
    return [line for line in generate_latest(registry).decode().splitlines() if line[0] != "#"]


def test_a_number_is_read_when_it_is_asked_for_and_left_out_when_it_is_not_known() -> None:
    things = gauge("smsd_things", "Things.", lambda node: node.things, labels=("kind",))
    assert page(things, things={("a",): 1, ("b",): 0}) == [
        'smsd_things{kind="a"} 1.0',
        'smsd_things{kind="b"} 0.0',
    ]
    assert page(things, things={}) == []


def test_a_counter_keeps_its_whole_name() -> None:
    assert page(counter("smsd_done_total", "Done.", lambda _: {(): 3})) == ["smsd_done_total 3.0"]


def test_a_spread_is_a_histogram_of_which_each_bucket_holds_those_below_it() -> None:
    spread = Spread((0.5, 2.0))
    for value in (0.1, 0.5, 1.0, 9.0):
        spread.add(value)
    assert page(histogram("smsd_wait_seconds", "Waits.", lambda _: {(): spread})) == [
        'smsd_wait_seconds_bucket{le="0.5"} 2.0',
        'smsd_wait_seconds_bucket{le="2.0"} 3.0',
        'smsd_wait_seconds_bucket{le="+Inf"} 4.0',
        "smsd_wait_seconds_count 4.0",
        "smsd_wait_seconds_sum 10.6",
    ]


def test_no_name_is_given_twice_and_no_label_is_for_an_org_a_phone_or_a_number() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert {label for metric in METRICS for label in metric.labels} == LABELS


def test_the_lag_is_by_how_much_a_timer_fires_too_late(clock: Clock) -> None:
    lag = Lag(clock)
    lag.start()
    clock.advance(EVERY)
    clock.advance(EVERY + 2)
    clock.advance(EVERY)
    lag.stop()
    assert (lag.spread.at_most[-1], lag.spread.total) == (3, 2.0)
    assert lag.spread.at_most[0] == 2
