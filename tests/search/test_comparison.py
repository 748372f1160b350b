"""Tests and intervals, checked on data whose truth is known."""

import itertools

import numpy as np
import pytest
from kerasloss_search.comparison import compare, holm, interval, smallest_p


def each(count):
    return [f"image {index}" for index in range(count)]


def test_the_sign_test_counts_all_flips():
    ours, theirs = np.array([[0.5, 0.6, 0.9, 0.4]]), np.array([[0.4, 0.65, 0.6, 0.2]])
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
    theirs = rng.random((1, 24)) * 0.1
    ours = theirs + np.repeat(rng.normal(0.02, 0.03, 6), 4)
    alone = compare(ours, theirs, each(24))
    together = compare(ours, theirs, [f"picture {index // 4}" for index in range(24)])
    assert together.units == 6
    assert together.p > alone.p
    assert together.high - together.low > 1.3 * (alone.high - alone.low)


def test_another_seed_widens_the_interval():
    rng = np.random.default_rng(2)
    images = rng.random(30) * 0.1
    steady = images + np.zeros((4, 1))
    shaky = images + np.array([[0.0], [0.1], [-0.1], [0.05]])
    narrow, wide = compare(steady + 0.01, steady, each(30)), compare(shaky + 0.01, shaky, each(30))
    assert narrow.low == pytest.approx(0.01) and narrow.high == pytest.approx(0.01)
    assert wide.low < 0.0 < wide.high


@pytest.mark.parametrize("units", [10, 20])
def test_the_test_keeps_its_level_and_has_power(units):
    rng = np.random.default_rng(3)
    noise = [rng.normal(0, 0.05, (1, units)) for _ in range(200)]
    level = np.mean([compare(n, np.zeros_like(n), each(units)).p < 0.05 for n in noise])
    power = np.mean([compare(n + 0.06, np.zeros_like(n), each(units)).p < 0.05 for n in noise])
    assert level < 0.1
    assert power > 0.8


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
    ours, theirs = np.linspace(0.2, 0.3, 5)[None], np.zeros((1, 5))
    assert compare(ours, theirs, each(5)).p == pytest.approx(smallest_p(5)) == 2 / 32
    many = np.linspace(0.2, 0.3, 40)[None]
    assert compare(many, many * 0, each(40)).p == pytest.approx(smallest_p(40))
