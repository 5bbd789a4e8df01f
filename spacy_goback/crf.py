"""Linear-chain conditional random field (Lafferty et al. 2001) over BILUO tags, on arrays.

Shapes: B sequences, N tokens of the longest, T = 1 + 4 * labels tags. Tag 0 is O; label k has
1 + 4k (begin), 2 + 4k (inside), 3 + 4k (last), 4 + 4k (unit). Scores are natural logarithms.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy

Array = Any  # of NumPy or CuPy, by the module `xp` that made it
BEGIN, INSIDE, LAST, UNIT = 1, 2, 3, 4
Span = tuple[int, int, int]


@dataclass(frozen=True)
class Grammar:
    """Which tag may open, follow and close.

    follows: (T, T) 1 where the second tag may come after the first, else 0.
    opens, closes: (T,) 1 where a sequence may begin or end with the tag.
    """

    follows: Array
    opens: Array
    closes: Array


@lru_cache
def grammar(labels: int, xp: Any = numpy) -> Grammar:
    """The grammar of BILUO: a begun entity goes on with its own label until its last token.

    labels: how many.
    xp: NumPy, or CuPy on a GPU.
    """
    size = 1 + 4 * labels
    kind = (numpy.arange(size) - 1) % 4 + 1
    kind[0] = 0
    label = (numpy.arange(size) - 1) // 4
    open_ = numpy.isin(kind, (BEGIN, INSIDE))
    goes_on = numpy.isin(kind, (INSIDE, LAST))
    same = label[:, None] == label[None, :]
    follows = numpy.where(open_[:, None], goes_on[None, :] & same, ~goes_on[None, :])
    return Grammar(*(xp.asarray(x.astype("f")) for x in (follows, ~goes_on, ~open_)))


def tags_of(spans: Sequence[Span], length: int) -> list[int]:
    """Tags of flat spans.

    spans: start, end (exclusive) and number of the label, in tokens.
    length: tokens of the sequence.
    """
    tags = [0] * length
    for start, end, label in spans:
        base = 4 * label
        if end - start == 1:
            tags[start] = base + UNIT
            continue
        tags[start:end] = [base + INSIDE] * (end - start)
        tags[start], tags[end - 1] = base + BEGIN, base + LAST
    return tags


def spans_of(tags: Sequence[int]) -> list[Span]:
    """Flat spans of a grammatical sequence of tags, the inverse of `tags_of`.

    tags: one a token.
    """
    spans, start = [], 0
    for i, tag in enumerate(tags):
        label, kind = divmod(tag - 1, 4)
        if tag and kind + 1 in (BEGIN, UNIT):
            start = i
        if tag and kind + 1 in (LAST, UNIT):
            spans.append((start, i + 1, label))
    return spans


class Lattice:
    """All taggings of a batch at once: their weights, and what follows from these.

    emissions: (B, N, T) score of each tag at each token; what lies behind a length is not read.
    lengths: (B,) tokens of each sequence, at least 1.
    transitions: (T, T) score of a tag after another.
    rules: what is possible at all.
    xp: NumPy, or CuPy on a GPU.
    """

    def __init__(
        self, emissions: Array, lengths: Array, transitions: Array, rules: Grammar, xp: Any = numpy
    ) -> None:
        self.xp, self.emissions, self.lengths = xp, emissions, lengths
        self.transitions = transitions
        self.steps = xp.exp(transitions) * rules.follows
        with numpy.errstate(divide="ignore"):
            self.opens, self.closes = xp.log(rules.opens), xp.log(rules.closes)
        self.rules = rules
        self.live = xp.arange(emissions.shape[1])[None, :] < lengths[:, None]
        self.before = self._before()
        self.after = self._after()
        last = self.before[xp.arange(len(lengths)), lengths - 1]
        self.total = self._sum(last + self.closes)

    def _sum(self, scores: Array) -> Array:
        top = scores.max(axis=-1, keepdims=True)
        return (self.xp.log(self.xp.exp(scores - top).sum(axis=-1, keepdims=True)) + top)[..., 0]

    def _step(self, scores: Array, steps: Array) -> Array:
        # The largest weight is 1, so that nothing overflows; what underflows is impossible enough.
        top = scores.max(axis=-1, keepdims=True)
        with numpy.errstate(divide="ignore"):
            return self.xp.log(self.xp.exp(scores - top) @ steps) + top

    def _before(self) -> Array:
        """(B, N, T): weight of all beginnings that end in a tag at a token, with its score."""
        scores = self.xp.empty_like(self.emissions)
        scores[:, 0] = self.emissions[:, 0] + self.opens
        for i in range(1, scores.shape[1]):
            new = self._step(scores[:, i - 1], self.steps) + self.emissions[:, i]
            scores[:, i] = self.xp.where(self.live[:, i, None], new, scores[:, i - 1])
        return scores

    def _after(self) -> Array:
        """(B, N, T): weight of all endings that follow a tag at a token, without its score."""
        scores = self.xp.empty_like(self.emissions)
        scores[:, -1] = self.closes
        for i in range(scores.shape[1] - 2, -1, -1):
            new = self._step(scores[:, i + 1] + self.emissions[:, i + 1], self.steps.T)
            scores[:, i] = self.xp.where(self.live[:, i + 1, None], new, self.closes)
        return scores

    def marginals(self) -> Array:
        """(B, N, T): probability of each tag at each token, 0 behind a sequence's end."""
        scores = self.before + self.after - self.total[:, None, None]
        return self.xp.where(self.live[..., None], self.xp.exp(scores), 0.0)

    def expected_steps(self) -> Array:
        """(T, T): how often a tag is expected after another, over the whole batch."""
        found = self.xp.zeros_like(self.steps)
        for i in range(1, self.emissions.shape[1]):
            left = self.before[:, i - 1]
            right = self.emissions[:, i] + self.after[:, i] - self.total[:, None]
            top = left.max(axis=-1, keepdims=True)
            ahead = self.xp.where(self.live[:, i, None], self.xp.exp(right + top), 0.0)
            found += self.xp.exp(left - top).T @ ahead
        return found * self.steps

    def loss(self, tags: Array) -> tuple[float, Array, Array]:
        """Negative log-likelihood of the right taggings, summed over the batch, and its gradients.

        tags: (B, N) grammatical; what lies behind a length is not read.
        Returns the loss, and its gradients by emissions (B, N, T) and transitions (T, T).
        """
        xp = self.xp
        tags = xp.where(self.live, tags, 0)
        rows, columns = xp.arange(tags.shape[0])[:, None], xp.arange(tags.shape[1])[None, :]
        gold = xp.where(self.live, self.emissions[rows, columns, tags], 0.0).sum()
        pairs = self.live[:, 1:]
        first, second = tags[:, :-1][pairs], tags[:, 1:][pairs]
        gold += self.transitions[first, second].sum()
        by_emission = self.marginals()
        by_emission[rows, columns, tags] -= self.live
        by_transition = self.expected_steps()
        size = self.transitions.shape[0]
        counts = xp.bincount(first * size + second, minlength=size * size)
        by_transition -= counts.reshape(size, size).astype(by_transition.dtype)
        return float(self.total.sum() - gold), by_emission, by_transition

    def best(self) -> list[list[int]]:
        """The likeliest grammatical tagging of each sequence (Viterbi 1967)."""
        xp = self.xp
        steps = xp.where(self.rules.follows > 0, self.transitions, -xp.inf)
        score = self.emissions[:, 0] + self.opens
        came_from = []
        for i in range(1, self.emissions.shape[1]):
            ways = score[:, :, None] + steps
            came_from.append(ways.argmax(axis=1))
            new = ways.max(axis=1) + self.emissions[:, i]
            score = xp.where(self.live[:, i, None], new, score)
        last = (score + self.closes).argmax(axis=-1).tolist()
        origins = [step.tolist() for step in came_from]
        found = []
        for row, (length, tag) in enumerate(zip(self.lengths.tolist(), last, strict=True)):
            path = [tag]
            for i in range(length - 2, -1, -1):
                path.append(origins[i][row][path[-1]])
            found.append(path[::-1])
        return found

    def span_probability(self, row: int, span: Span) -> float:
        """Probability that a sequence has exactly this span with this label.

        row: which sequence.
        span: start, end (exclusive) and number of the label.
        """
        start, end, label = span
        inner = tags_of([(0, end - start, label)], end - start)
        score = self.before[row, start, inner[0]] + self.after[row, end - 1, inner[-1]]
        for i in range(1, end - start):
            score += (
                self.transitions[inner[i - 1], inner[i]] + self.emissions[row, start + i, inner[i]]
            )
        return float(self.xp.exp(score - self.total[row]))
