"""Calibration: how far confidences lie from what comes true, and a temperature against it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

Floats = NDArray[numpy.float64]
GOLDEN = (5**0.5 - 1) / 2
# Draws of a bootstrap and of a simulation: their 95% intervals are steady to the third digit.
DRAWS = 1000


@dataclass(frozen=True)
class Bin:
    """Predictions of like confidence: how many, how sure on average, which share was right."""

    size: int
    confidence: float
    accuracy: float


def bins(confidence: Sequence[float], right: Sequence[bool], count: int = 15) -> list[Bin]:
    """Predictions in bins of equal mass, from the least sure up.

    confidence: in [0, 1], one a prediction. right: whether it came true.
    count: of bins; fewer where there are fewer predictions.
    """
    stated, true = numpy.asarray(confidence, "d"), numpy.asarray(right, "d")
    order = numpy.argsort(stated, kind="stable")
    parts = numpy.array_split(order, min(count, len(order))) if len(order) else []
    return [Bin(len(p), float(stated[p].mean()), float(true[p].mean())) for p in parts]


def ece(confidence: Sequence[float], right: Sequence[bool], count: int = 15) -> float:
    """Expected calibration error, 0 to 1: mean distance of confidence and accuracy over bins.

    confidence, right, count: as in `bins`.
    Source: Naeini et al. 2015, with bins of equal mass (Nixon et al. 2019).
    """
    found = bins(confidence, right, count)
    gaps = sum(b.size * abs(b.confidence - b.accuracy) for b in found)
    return gaps / len(confidence) if found else 0.0


def brier(confidence: Sequence[float], right: Sequence[bool]) -> float:
    """Brier score, 0 to 1: mean square distance of confidence and truth.

    confidence, right: as in `bins`.
    Source: Brier 1950.
    """
    if not len(confidence):
        return 0.0
    return float(((numpy.asarray(confidence, "d") - numpy.asarray(right, "d")) ** 2).mean())


def ece_interval(
    confidence: Sequence[float], right: Sequence[bool], count: int = 15, seed: int = 0
) -> tuple[float, float]:
    """95% interval of the ECE over predictions drawn anew (Efron 1979).

    confidence, right, count: as in `bins`. seed: of the draws.
    """
    stated, true = numpy.asarray(confidence, "d"), numpy.asarray(right, "d")
    random = numpy.random.default_rng(seed)
    drawn = (random.integers(len(stated), size=len(stated)) for _ in range(DRAWS))
    return _interval([ece(stated[d].tolist(), true[d].tolist(), count) for d in drawn])


def perfect_interval(
    confidence: Sequence[float], count: int = 15, seed: int = 0
) -> tuple[float, float]:
    """95% interval of the ECE that a perfectly calibrated model shows by chance alone.

    confidence: what it states; each prediction is right with just that probability.
    count: of bins. seed: of the draws.
    """
    random = numpy.random.default_rng(seed)
    stated = numpy.asarray(confidence, "d")
    drawn = (random.random(len(stated)) < stated for _ in range(DRAWS))
    return _interval([ece(confidence, d.tolist(), count) for d in drawn])


def _interval(values: Sequence[float]) -> tuple[float, float]:
    low, high = numpy.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def fit_temperature(
    stated_at: Callable[[float], Sequence[float]], right: Sequence[bool], steps: int = 12
) -> float:
    """The temperature at which what came true was likeliest, between 1/5 and 5.

    stated_at: gives the confidences of the predictions at a temperature.
    right: whether each came true; without predictions the answer is 1.
    steps: of a golden section search; 12 find the temperature to 1%.
    Source: Guo et al. 2017.
    """
    true = numpy.asarray(right, "d")
    if not len(true):
        return 1.0

    def loss(log: float) -> float:
        stated = numpy.clip(numpy.asarray(stated_at(float(numpy.exp(log))), "d"), 1e-6, 1 - 1e-6)
        return float(-(true * numpy.log(stated) + (1 - true) * numpy.log1p(-stated)).mean())

    low, high = -float(numpy.log(5)), float(numpy.log(5))
    left, right_ = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right_)
    for _ in range(steps):
        if at_left < at_right:
            high, right_, at_right = right_, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right_, at_right
            right_ = low + GOLDEN * (high - low)
            at_right = loss(right_)
    return float(numpy.exp((low + high) / 2))


@dataclass(frozen=True)
class Point:
    """What a threshold keeps: share of the kept that is right, share of all gold that is found."""

    threshold: float
    kept: int
    precision: float
    recall: float


def curve(confidence: Sequence[float], right: Sequence[bool], gold: int) -> list[Point]:
    """Precision and recall at every threshold that changes something, from the highest down.

    confidence, right: as in `bins`. gold: how many there were to find.
    """
    order = sorted(zip(confidence, right, strict=True), key=lambda pair: -pair[0])
    points, hits = [], 0
    for i, (threshold, true) in enumerate(order, 1):
        hits += bool(true)
        if i == len(order) or order[i][0] < threshold:
            points.append(Point(threshold, i, hits / i, hits / gold if gold else 0.0))
    return points


def threshold_for(points: Sequence[Point], precision: float) -> Point | None:
    """The point of most recall whose precision is as wanted; None where there is none.

    points: as `curve` gives them. precision: wanted, 0 to 1.
    """
    good = [point for point in points if point.precision >= precision]
    return max(good, key=lambda point: point.kept, default=None)
