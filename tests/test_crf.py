from itertools import pairwise, product

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_goback.crf import Grammar, Lattice, grammar, spans_of, tags_of

LABELS = 2
RULES = grammar(LABELS)
TAGS = 1 + 4 * LABELS


def grammatical(tags: tuple[int, ...], rules: Grammar = RULES) -> bool:
    return bool(
        rules.opens[tags[0]]
        and rules.closes[tags[-1]]
        and all(rules.follows[a, b] for a, b in pairwise(tags))
    )


class Enumerated:
    """Every grammatical tagging of one sequence with its score: the slow truth."""

    def __init__(self, emissions: numpy.ndarray, transitions: numpy.ndarray) -> None:
        length = len(emissions)
        self.paths = [p for p in product(range(TAGS), repeat=length) if grammatical(p)]
        scores = [
            sum(emissions[i, t] for i, t in enumerate(path))
            + sum(transitions[a, b] for a, b in pairwise(path))
            for path in self.paths
        ]
        weights = numpy.exp(numpy.array(scores) - max(scores))
        self.total = max(scores) + numpy.log(weights.sum())
        self.probabilities = weights / weights.sum()

    def expect(self, of: object) -> numpy.ndarray:
        return sum(p * of(path) for p, path in zip(self.probabilities, self.paths, strict=True))


@pytest.fixture(params=range(3))
def batch(request: pytest.FixtureRequest) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    rng = numpy.random.default_rng(request.param)
    emissions = rng.normal(0, 2, (3, 4, TAGS))
    return emissions, numpy.array([4, 1, 3]), rng.normal(0, 1, (TAGS, TAGS))


def test_totals_and_marginals_are_those_of_all_paths(batch: tuple[numpy.ndarray, ...]) -> None:
    emissions, lengths, transitions = batch
    lattice = Lattice(emissions, lengths, transitions, RULES)
    marginals = lattice.marginals()
    steps = numpy.zeros((TAGS, TAGS))
    for row, length in enumerate(lengths):
        truth = Enumerated(emissions[row, :length], transitions)
        assert lattice.total[row] == pytest.approx(truth.total)
        expected = truth.expect(lambda path: numpy.eye(TAGS)[list(path)])
        numpy.testing.assert_allclose(marginals[row, :length], expected, atol=1e-9)
        assert not marginals[row, length:].any()

        def pairs(path: tuple[int, ...]) -> numpy.ndarray:
            found = numpy.zeros((TAGS, TAGS))
            for a, b in pairwise(path):
                found[a, b] += 1
            return found

        steps += truth.expect(pairs)
    numpy.testing.assert_allclose(lattice.expected_steps(), steps, atol=1e-9)


def test_the_best_path_is_the_likeliest(batch: tuple[numpy.ndarray, ...]) -> None:
    emissions, lengths, transitions = batch
    found = Lattice(emissions, lengths, transitions, RULES).best()
    for row, length in enumerate(lengths):
        truth = Enumerated(emissions[row, :length], transitions)
        assert tuple(found[row]) == truth.paths[int(truth.probabilities.argmax())]


def test_span_probabilities_are_exact(batch: tuple[numpy.ndarray, ...]) -> None:
    emissions, lengths, transitions = batch
    lattice = Lattice(emissions, lengths, transitions, RULES)
    for row, length in enumerate(lengths):
        truth = Enumerated(emissions[row, :length], transitions)
        for start, end, label in product(range(length), range(1, length + 1), range(LABELS)):
            if start < end:
                span = (start, end, label)
                right = truth.expect(lambda path, span=span: float(span in spans_of(path)))
                assert lattice.span_probability(row, span) == pytest.approx(right, abs=1e-9)


def test_gradients_agree_with_finite_differences(batch: tuple[numpy.ndarray, ...]) -> None:
    emissions, lengths, transitions = batch
    spans = [[(0, 2, 1), (3, 4, 0)], [(0, 1, 1)], []]
    tags = numpy.zeros(emissions.shape[:2], dtype=int)
    for row, length in enumerate(lengths):
        tags[row, :length] = tags_of(spans[row], length)

    def loss(emissions: numpy.ndarray, transitions: numpy.ndarray) -> float:
        return Lattice(emissions, lengths, transitions, RULES).loss(tags)[0]

    value, *gradients = Lattice(emissions, lengths, transitions, RULES).loss(tags)
    assert value > 0
    rng = numpy.random.default_rng(0)
    for which, gradient in enumerate(gradients):
        for _ in range(30):
            place = tuple(rng.integers(0, size) for size in gradient.shape)
            moved = [[emissions.copy(), transitions.copy()] for _ in range(2)]
            for arrays, change in zip(moved, (1e-5, -1e-5), strict=True):
                arrays[which][place] += change
            slope = (loss(*moved[0]) - loss(*moved[1])) / 2e-5
            assert gradient[place] == pytest.approx(slope, abs=1e-5)


@given(st.data())
def test_tags_and_spans_are_inverse_and_grammatical(data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 12))
    cuts = sorted(data.draw(st.sets(st.integers(0, length), max_size=8)))
    spans = [
        (a, b, data.draw(st.integers(0, LABELS - 1)))
        for a, b in zip(cuts[::2], cuts[1::2], strict=False)
    ]
    tags = tags_of(spans, length)
    assert spans_of(tags) == spans and grammatical(tuple(tags))


def test_hopeless_scores_give_no_nan() -> None:
    emissions = numpy.zeros((1, 3, TAGS), dtype="f")
    emissions[0, :, 0] = -3000.0
    emissions[0, 1, 2] = 3000.0
    lattice = Lattice(emissions, numpy.array([3]), numpy.zeros((TAGS, TAGS), dtype="f"), RULES)
    assert numpy.isfinite(lattice.total).all() and numpy.isfinite(lattice.marginals()).all()
    assert lattice.best() == [[1, 2, 3]]
