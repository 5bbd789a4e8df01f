"""Scores of entities against a gold standard: per label, and what was taken for what."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spacy.tokens import Doc, Span

from .confidence import Key, key, sure
from .markdown import table

NOTHING = "(none)"


@dataclass(frozen=True)
class Score:
    """Counts of exact matches (boundaries and label), and what follows from them."""

    right: int
    found: int
    gold: int

    @property
    def precision(self) -> float:
        """Share of the found entities that are right, 0 to 1."""
        return self.right / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """Share of the gold entities that are found, 0 to 1."""
        return self.right / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 0 to 1."""
        total = self.found + self.gold
        return 2 * self.right / total if total else 0.0


def score(pairs: Iterable[tuple[Doc, Doc]]) -> dict[str, Score]:
    """Micro scores by label, and overall under the key "all".

    pairs: predicted and gold Docs of the same texts.
    """
    return score_spans(
        ({key(e) for e in predicted.ents}, {key(e) for e in reference.ents})
        for predicted, reference in pairs
    )


def score_spans(pairs: Iterable[tuple[set[Key], set[Key]]]) -> dict[str, Score]:
    """Micro scores by label, and overall under the key "all", of spans given as sets.

    pairs: found and gold spans of the same texts, each start, end, label.
    """
    right: Counter[str] = Counter()
    found: Counter[str] = Counter()
    gold: Counter[str] = Counter()
    for ours, theirs in pairs:
        for counter, spans in ((right, ours & theirs), (found, ours), (gold, theirs)):
            counter.update(label for _, _, label in spans)
            counter["all"] += len(spans)
    labels = ["all", *sorted((found | gold).keys() - {"all"})]
    return {label: Score(right[label], found[label], gold[label]) for label in labels}


def confusion(pairs: Iterable[tuple[Doc, Doc]]) -> Counter[tuple[str, str]]:
    """How often a gold label was read as which label; `NOTHING` on either side is a miss.

    pairs: predicted and gold Docs. An entity is compared with the one that overlaps it most.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for predicted, reference in pairs:
        for entity in reference.ents:
            counts[entity.label_, _partner(entity, predicted.ents)] += 1
        for entity in predicted.ents:
            if _partner(entity, reference.ents) == NOTHING:
                counts[NOTHING, entity.label_] += 1
    return counts


def _partner(entity: Span, others: Sequence[Span]) -> str:
    best = max(others, key=lambda other: _overlap(entity, other), default=None)
    return best.label_ if best is not None and _overlap(entity, best) > 0 else NOTHING


def _overlap(entity: Span, other: Span) -> int:
    return min(entity.end_char, other.end_char) - max(entity.start_char, other.start_char)


@dataclass(frozen=True)
class Mistake:
    """An entity that is not in the gold standard, and what stands there instead."""

    kind: str
    found: Span
    gold: tuple[Span, ...]


def mistakes(pairs: Iterable[tuple[Doc, Doc]]) -> list[Mistake]:
    """Every wrong entity, the surest first. Its kind: "label" (the borders are right), "borders"
    (the label is right), "both" (neither), or "nothing there".

    pairs: predicted and gold Docs.
    """
    found = []
    for predicted, reference in pairs:
        gold = {key(entity) for entity in reference.ents}
        for entity in predicted.ents:
            if key(entity) not in gold:
                there = tuple(e for e in reference.ents if _overlap(entity, e) > 0)
                found.append(Mistake(_kind(entity, there), entity, there))
    return sorted(found, key=lambda mistake: -sure(mistake.found))


def _kind(entity: Span, there: Sequence[Span]) -> str:
    if not there:
        return "nothing there"
    if any(key(e)[:2] == key(entity)[:2] for e in there):
        return "label"
    return "borders" if any(e.label_ == entity.label_ for e in there) else "both"


def score_table(scores: dict[str, Score]) -> str:
    """Scores as a Markdown table.

    scores: as `score` gives them.
    """
    rows = (
        [label, f"{s.precision:.3f}", f"{s.recall:.3f}", f"{s.f1:.3f}", s.gold]
        for label, s in scores.items()
    )
    return table(["label", "precision", "recall", "F1", "gold"], rows)


def confusion_table(counts: Counter[tuple[str, str]]) -> str:
    """Confusion counts as a Markdown table: gold labels down, read labels across.

    counts: as `confusion` gives them.
    """
    names = [*sorted({name for pair in counts for name in pair} - {NOTHING}), NOTHING]
    rows = ([gold, *(counts[gold, read] or "" for read in names)] for gold in names)
    return table(["gold \\ read as", *names], rows)
