"""One place where the entity ruler and the model agree: the longer span, then the surer one."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import srsly
from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import SimpleFrozenList, from_bytes, from_disk, to_bytes, to_disk

from .confidence import check_threshold, key, sure

# What spaCy is told about the factory `goback_entity_policy`.
FACTORY: dict[str, Any] = {
    "assigns": ["doc.ents", "token.ent_iob", "token.ent_type", "span._.confidence"],
    "requires": ["doc.ents"],
    "default_config": {"spans_key": "ruler", "min_confidence": 0.0},
}


def create_entity_policy(
    nlp: Language, name: str, spans_key: str, min_confidence: float
) -> "EntityPolicy":
    """Build the component.

    nlp: the pipeline. name: the component's. spans_key, min_confidence: as in `EntityPolicy`.
    """
    return EntityPolicy(name, spans_key, min_confidence)


class EntityPolicy(Pipe):
    """Merges the ruler's spans into `doc.ents`, and drops what is not sure enough.

    name: the component's.
    spans_key: where a `span_ruler` wrote its spans; they are taken away from there.
    min_confidence: entities below it are dropped, 0 to 1.
    Raises ValueError where it lies outside.
    """

    def __init__(
        self, name: str = "entity_policy", spans_key: str = "ruler", min_confidence: float = 0.0
    ) -> None:
        check_threshold(min_confidence)
        self.name = name
        self.spans_key = spans_key
        self.min_confidence = min_confidence
        # How often the ruler was right where the model had another opinion, and how often in all.
        self.cfg: dict[str, int] = {"right": 0, "all": 0}

    @property
    def ruler_confidence(self) -> float:
        """Confidence of a span that the ruler alone has: Laplace's rule of succession, so that
        nothing measured means 0.5.
        """
        return (self.cfg["right"] + 1) / (self.cfg["all"] + 2)

    def __call__(self, doc: Doc) -> Doc:
        """Merge.

        doc: with the model's entities and the ruler's spans.
        """
        stands = self._merge(doc)
        for span, confidence in stands:
            span._.confidence = None if confidence < 0 else confidence
        doc.set_ents(
            [
                span
                for span, confidence in stands
                if not self.min_confidence or confidence >= self.min_confidence
            ]
        )
        doc.spans.pop(self.spans_key, None)
        return doc

    def _merge(self, doc: Doc) -> list[tuple[Span, float]]:
        """What stands of the model's entities and of the spans that the ruler alone has, each with
        its confidence. Spans of one place share what is under `_`, so nothing is written here.
        """
        known = {key(entity) for entity in doc.ents}
        found = [(entity, sure(entity)) for entity in doc.ents]
        ruled = (span for span in doc.spans.get(self.spans_key, ()) if key(span) not in known)
        found += [(span, self.ruler_confidence) for span in ruled]
        stands: list[tuple[Span, float]] = []
        taken: set[int] = set()
        for span, confidence in sorted(found, key=lambda f: (-len(f[0]), -f[1], f[0].start)):
            if taken.isdisjoint(range(span.start, span.end)):
                taken.update(range(span.start, span.end))
                stands.append((span, confidence))
        return stands

    def calibrate(self, examples: Iterable[Example]) -> None:
        """Count how often the ruler is right where it overrules or adds to the model.

        examples: held-out; predicted up to this component, and gold.
        """
        right = total = 0
        for example in examples:
            gold = {key(entity) for entity in example.reference.ents}
            model = {key(entity) for entity in example.predicted.ents}
            stands = {key(span) for span, _ in self._merge(example.predicted)}
            won = [span in gold for span in stands - model]
            right, total = right + sum(won), total + len(won)
        self.cfg = {"right": right, "all": total}

    def to_bytes(self, *, exclude: Iterable[str] = SimpleFrozenList()) -> bytes:
        """What was measured.

        exclude: fields to leave out.
        """
        return bytes(to_bytes({"cfg": lambda: srsly.json_dumps(self.cfg)}, exclude))

    def from_bytes(
        self, data: bytes, *, exclude: Iterable[str] = SimpleFrozenList()
    ) -> "EntityPolicy":
        """Load what `to_bytes` gave.

        data: the bytes. exclude: fields to leave out.
        """
        from_bytes(data, {"cfg": lambda text: self.cfg.update(srsly.json_loads(text))}, exclude)
        return self

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = SimpleFrozenList()) -> None:
        """Write what was measured.

        path: a folder. exclude: fields to leave out.
        """
        to_disk(path, {"cfg": lambda file: srsly.write_json(file, self.cfg)}, exclude)

    def from_disk(
        self, path: str | Path, *, exclude: Iterable[str] = SimpleFrozenList()
    ) -> "EntityPolicy":
        """Load what `to_disk` wrote.

        path: the folder. exclude: fields to leave out.
        """
        from_disk(path, {"cfg": lambda file: self.cfg.update(srsly.read_json(file))}, exclude)
        return self
