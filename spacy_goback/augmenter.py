"""Field noise at training time: spaCy's augmenter interface over the edits of `noise`."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator

from spacy.language import Language
from spacy.training import Example

from .annotations import AnnotationError, Piece, join, make_doc, pieces, record_from_doc
from .noise import EDITS, recase

Augmenter = Callable[[Language, Example], Iterator[Example]]
# How often a noised text undergoes each kind of edit.
KINDS = {
    "swap": 0.4,
    "numbers": 0.5,
    "units": 0.4,
    "abbreviations": 0.4,
    "typing": 0.3,
    "ocr": 0.15,
    "punctuation": 0.3,
    "case": 0.3,
}
# Entities of one label that are remembered for swapping, the latest.
REMEMBERED = 2000


def field_noise(level: float, kinds: dict[str, float] | None = None) -> Augmenter:
    """Build `goback.field_noise.v1`: texts as auditors type, shout, abbreviate and scan them.

    level: share of the texts that are noised, 0 to 1; the others pass unchanged.
    kinds: chance of each kind of edit in a noised text, 0 to 1; those not named keep the default
        of `KINDS`. "swap" puts entities of the same label seen before in place of others.
    Raises ValueError where a kind is unknown or a share lies outside 0 to 1.
    """
    unknown = set(kinds or ()) - set(KINDS)
    if unknown:
        raise ValueError(f"field_noise: unknown {sorted(unknown)}, known are {list(KINDS)}.")
    chances = KINDS | (kinds or {})
    if not all(0 <= share <= 1 for share in (level, *chances.values())):
        raise ValueError("field_noise: level and the chances of kinds lie between 0 and 1.")
    return FieldNoise(level, chances)


class FieldNoise:
    """The augmenter; it draws from Python's `random`, which spaCy seeds.

    level: share of the texts that are noised.
    chances: chance of each kind of edit.
    """

    def __init__(self, level: float, chances: dict[str, float]) -> None:
        self.level = level
        self.chances = chances
        self.seen: dict[str, list[str]] = defaultdict(list)

    def __call__(self, nlp: Language, example: Example) -> Iterator[Example]:
        """Yield one example: the given one, or its noised form with the same entities.

        nlp: gives the tokenizer.
        example: its reference needs complete entities; else it passes unchanged.
        """
        doc = example.reference
        if not doc.has_annotation("ENT_IOB", require_complete=True):
            yield example
            return
        original = record_from_doc(doc)
        parts = pieces(original)
        noised = self._noised(parts) if random.random() < self.level else parts
        self._remember(parts)
        if noised == parts:
            yield example
            return
        record = join(noised)
        record.meta = original.meta
        try:
            reference = make_doc(record, nlp)
        except AnnotationError:  # an edit ran two words together across an entity's bound
            yield example
            return
        yield Example(nlp.make_doc(record.text), reference)

    def _noised(self, parts: list[Piece]) -> list[Piece]:
        rng = random.Random(random.getrandbits(32))
        if rng.random() < self.chances["swap"]:
            parts = [(self._other(text, label, rng), label) for text, label in parts]
        for kind, edit in EDITS.items():
            if rng.random() < self.chances[kind]:
                changed = [(edit(text, label, rng), label) for text, label in parts]
                # An entity that an edit left empty or with blanks at its ends is no entity.
                parts = [
                    new if not old[1] or (new[0] and new[0] == new[0].strip()) else old
                    for old, new in zip(parts, changed, strict=True)
                ]
        return recase(parts, rng) if parts and rng.random() < self.chances["case"] else parts

    def _other(self, text: str, label: str, rng: random.Random) -> str:
        if not self.seen[label] or rng.random() < 0.6:
            return text
        other = rng.choice(self.seen[label])
        return other.upper() if text.isupper() and len(text) > 3 else other

    def _remember(self, parts: list[Piece]) -> None:
        for text, label in parts:
            if label:
                self.seen[label].append(text)
                del self.seen[label][:-REMEMBERED]
