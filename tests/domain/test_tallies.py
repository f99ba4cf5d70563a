"""What is counted is counted once, in the right place."""

from smsd.domain.tallies import RouteTally, Spread


def test_a_value_counts_for_its_own_bound_and_all_above_it():
    spread = Spread((1.0, 2.0))
    for value in (0.0, 1.0, 1.5, 2.0, 3.0):
        spread.add(value)
    assert (spread.at_most, spread.total) == ([2, 4, 5], 7.5)


def test_a_route_counts_its_answers_by_status():
    route = RouteTally("GET", "/health")
    for status in (200, 503, 200):
        route.add(status, 0.5)
    assert (route.statuses, route.seconds.total) == ({200: 2, 503: 1}, 1.5)
