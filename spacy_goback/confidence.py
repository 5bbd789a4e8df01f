"""`Span._.confidence`: the probability that just this span with just this label is right."""

from spacy.tokens import Doc, Span

if not Span.has_extension("confidence"):
    Span.set_extension("confidence", default=None)

Key = tuple[int, int, str]


def key(span: Span) -> Key:
    """What makes two entities the same: character offsets and label.

    span: the entity.
    """
    return span.start_char, span.end_char, span.label_


def sure(span: Span) -> float:
    """How sure an entity is, 0 to 1; -1 where nobody has said.

    span: the entity.
    """
    confidence = span._.confidence
    return -1.0 if confidence is None else float(confidence)


def check_threshold(min_confidence: float) -> None:
    """Refuse what is no probability.

    min_confidence: the threshold.
    Raises ValueError where it lies outside 0 to 1.
    """
    if not 0 <= min_confidence <= 1:
        raise ValueError(f"min_confidence is a probability, 0 to 1, not {min_confidence}.")


def entities(doc: Doc, min_confidence: float = 0.0) -> tuple[Span, ...]:
    """The entities of a text that are sure enough; one of unknown confidence is sure of nothing.

    doc: out of a pipeline.
    min_confidence: in [0, 1]; at 0 all entities come back.
    Raises ValueError where it lies outside.
    """
    check_threshold(min_confidence)
    return tuple(e for e in doc.ents if not min_confidence or sure(e) >= min_confidence)
