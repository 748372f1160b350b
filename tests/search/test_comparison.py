"""Tests and intervals, checked on data whose truth is known."""

import itertools

import numpy as np
import pytest
from kerasloss_search.comparison import compare, holm, interval, p_is, smallest_p


def each(count):
    return [f"image {index}" for index in range(count)]


def steady(scores, seeds=8):
    """The same from every seed, so that only the images can tell something by chance."""
    return np.repeat(np.atleast_2d(scores), seeds, axis=0)


def test_the_sign_test_counts_all_flips():
    ours, theirs = steady([0.5, 0.6, 0.9, 0.4]), steady([0.4, 0.65, 0.6, 0.2])
    differences = (ours - theirs)[0]
    flips = [abs(np.dot(signs, differences)) for signs in itertools.product((1, -1), repeat=4)]
    expected = np.mean([flip >= abs(differences.sum()) - 1e-12 for flip in flips])
    found = compare(ours, theirs, each(4))
    assert found.p == pytest.approx(expected)
    assert found.difference == pytest.approx(differences.mean())
    assert found.units == 4


def test_equal_losses_differ_in_nothing():
    scores = np.random.default_rng(0).random((3, 9))
    found = compare(scores, scores, each(9))
    assert (found.difference, found.p) == (0.0, 1.0)
    assert found.low <= 0.0 <= found.high


def test_tiles_of_one_picture_are_one_observation():
    rng = np.random.default_rng(1)
    theirs = steady(rng.random(24) * 0.1)
    ours = theirs + np.repeat(rng.normal(0.02, 0.03, 6), 4)
    alone = compare(ours, theirs, each(24))
    together = compare(ours, theirs, [f"picture {index // 4}" for index in range(24)])
    assert together.units == 6
    assert together.p > alone.p
    assert together.high - together.low > 1.3 * (alone.high - alone.low)


def test_another_seed_widens_the_interval():
    rng = np.random.default_rng(2)
    calm = steady(rng.random(30) * 0.1, 4)
    shaky = calm + np.array([[0.0], [0.1], [-0.1], [0.05]])
    narrow, wide = compare(calm + 0.01, calm, each(30)), compare(shaky + 0.01, shaky, each(30))
    assert narrow.low == pytest.approx(0.01) and narrow.high == pytest.approx(0.01)
    assert wide.low < 0.0 < wide.high


def test_trainings_are_dealt_out_in_all_ways():
    ours, theirs = np.array([0.71, 0.74, 0.75]), np.array([0.70, 0.72, 0.69])
    pool = [*ours, *theirs]
    deals = [set(deal) for deal in itertools.combinations(range(6), 3)]
    differences = [
        abs(sum(v if i in deal else -v for i, v in enumerate(pool))) / 3 for deal in deals
    ]
    observed = ours.mean() - theirs.mean()
    expected = np.mean([difference >= observed - 1e-12 for difference in differences])
    images = np.linspace(-0.1, 0.1, 30)
    found = compare(ours[:, None] + images, theirs[:, None] + images, each(30))
    assert found.p == pytest.approx(expected) == 4 / 20


@pytest.mark.parametrize(("units", "seed_sd"), [(10, 0.0), (20, 0.0), (20, 0.02), (20, 0.05)])
def test_the_test_keeps_its_level_and_has_power(units, seed_sd):
    """Where images differ, where trainings do, and where both do."""
    rng = np.random.default_rng(3)

    def found(gain):
        ours, theirs = (
            rng.normal(0, seed_sd, (5, 1)) + rng.normal(0, 0.035, units) for _ in range(2)
        )
        return compare(ours + gain, theirs, each(units))

    claims = [
        [one.p < 0.05 and not one.low <= 0 <= one.high for one in (found(g) for _ in range(150))]
        for g in (0.0, 0.06 + 2 * seed_sd)
    ]
    assert np.mean(claims[0]) < 0.1
    assert np.mean(claims[1]) > 0.8


def test_the_interval_covers_the_truth():
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(100):
        mean, low, high = interval(rng.normal(0.7, 0.1, (1, 40)), each(40))
        assert low < mean < high
        hits += low <= 0.7 <= high
    assert hits >= 87


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_the_smallest_p():
    few, many = np.linspace(0.2, 0.3, 5), np.linspace(0.2, 0.3, 40)
    found = compare(steady(few), steady(few * 0), each(5))
    assert found.p == pytest.approx(smallest_p(units=5)) == 2 / 32
    found = compare(steady(many), steady(many * 0), each(40))
    assert found.p == pytest.approx(smallest_p(units=40, seeds=8), rel=0.2)
    found = compare(steady(many, 3), steady(many * 0, 3), each(40))
    assert found.p == pytest.approx(smallest_p(seeds=3)) == 2 / 20


def test_a_p_value_is_never_told_as_0():
    assert (p_is(0.0123), p_is(0.0004)) == ("p = 0.012", "p < 0.001")
