"""Calibration on made-up predictions whose truth is known by construction."""

from itertools import pairwise

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_goback.calibration import (
    bins,
    brier,
    curve,
    ece,
    ece_interval,
    fit_temperature,
    perfect_interval,
    threshold_for,
)

RANDOM = numpy.random.default_rng(7)
HONEST = RANDOM.uniform(0.3, 1.0, 4000)
TRUTH = (RANDOM.random(4000) < HONEST).tolist()
PREDICTIONS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def sharpened(temperature: float) -> list[float]:
    odds = numpy.log(HONEST / (1 - HONEST)) * 2 / temperature
    return (1 / (1 + numpy.exp(-odds))).tolist()


def test_the_error_by_hand() -> None:
    confidence, right = [0.6, 0.6, 0.9, 0.9], [True, False, True, True]
    assert ece(confidence, right, count=2) == pytest.approx((2 * 0.1 + 2 * 0.1) / 4)
    assert brier(confidence, right) == pytest.approx((0.16 + 0.36 + 0.01 + 0.01) / 4)
    assert ece([], []) == brier([], []) == 0


@given(PREDICTIONS, st.integers(1, 20))
def test_bins_hold_everything_once_and_rise(
    predictions: list[tuple[float, bool]], count: int
) -> None:
    confidence, right = [p[0] for p in predictions], [p[1] for p in predictions]
    found = bins(confidence, right, count)
    assert sum(b.size for b in found) == len(predictions)
    assert max(b.size for b in found) - min(b.size for b in found) <= 1
    assert all(a.confidence <= b.confidence + 1e-9 for a, b in pairwise(found))
    assert sum(b.size * b.accuracy for b in found) == pytest.approx(sum(right))
    assert 0 <= ece(confidence, right, count) <= 1


def test_the_temperature_undoes_what_sharpened() -> None:
    # At temperature 2 the odds are the true ones again.
    assert fit_temperature(sharpened, TRUTH) == pytest.approx(2, rel=0.1)
    assert ece(sharpened(1), TRUTH) > 3 * ece(sharpened(2), TRUTH)
    assert fit_temperature(lambda temperature: [], []) == 1


def test_an_honest_model_lies_within_what_chance_shows() -> None:
    low, high = perfect_interval(HONEST.tolist())
    assert low < ece(HONEST.tolist(), TRUTH) < high
    assert ece(sharpened(1), TRUTH) > high
    small, _ = perfect_interval(HONEST[:60].tolist())
    assert small > high  # few predictions look bad by chance alone


def test_the_interval_covers_the_estimate() -> None:
    confidence, right = sharpened(1)[:500], TRUTH[:500]
    low, high = ece_interval(confidence, right)
    assert low < ece(confidence, right) < high
    assert (low, high) == ece_interval(confidence, right)


def test_the_curve_by_hand() -> None:
    points = curve([0.9, 0.8, 0.8, 0.5], [True, True, False, True], gold=5)
    assert [(p.threshold, p.kept, p.precision, p.recall) for p in points] == [
        (0.9, 1, 1.0, 0.2),
        (0.8, 3, pytest.approx(2 / 3), 0.4),
        (0.5, 4, 0.75, 0.6),
    ]
    best = threshold_for(points, 0.7)
    assert best and best.threshold == 0.5
    assert threshold_for(points[1:], 0.9) is None


@given(PREDICTIONS)
def test_a_lower_threshold_keeps_more_and_finds_no_less(
    predictions: list[tuple[float, bool]],
) -> None:
    points = curve([p[0] for p in predictions], [p[1] for p in predictions], len(predictions))
    for a, b in pairwise(points):
        assert a.threshold > b.threshold and a.kept < b.kept and a.recall <= b.recall
    assert points[-1].kept == len(predictions)
