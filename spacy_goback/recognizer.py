"""An entity recognizer that knows how sure it is: a CRF, whose span probabilities are exact."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc, Span
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Config, Model
from thinc.types import Floats2d

from .calibration import fit_temperature
from .confidence import key
from .crf import BEGIN, INSIDE, LAST, UNIT, Lattice, grammar, spans_of
from .crf import Span as Found
from .tagger import TRANSITIONS, Emissions, resize

DEFAULT_MODEL = Config().from_str("""
[model]
@architectures = "goback.CrfTagger.v1"

[model.tok2vec]
@architectures = "spacy.HashEmbedCNN.v2"
pretrained_vectors = null
width = 96
depth = 4
embed_size = 2000
window_size = 1
maxout_pieces = 3
subword_features = true
""")["model"]
# Tokens a lattice, padding included: bounds its memory.
BATCH = 8192
KINDS = {"B": BEGIN, "I": INSIDE, "L": LAST, "U": UNIT}
Prediction = list[tuple[Found, float]]

# What spaCy is told about the factory `goback_ner`.
FACTORY: dict[str, Any] = {
    "assigns": ["doc.ents", "token.ent_iob", "token.ent_type", "span._.confidence"],
    "default_config": {"model": DEFAULT_MODEL},
    "default_score_weights": {"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
}


def create_entity_recognizer(
    nlp: Language, name: str, model: Model[list[Doc], Emissions]
) -> "EntityRecognizer":
    """Build the component.

    nlp: the pipeline. name: the component's. model: a `goback.CrfTagger.v1`.
    """
    return EntityRecognizer(nlp.vocab, model, name)


class EntityRecognizer(TrainablePipe):  # type: ignore[misc]
    """Sets `doc.ents`, each with the probability that this very span with this label is right.

    vocab: the pipeline's. model: a `goback.CrfTagger.v1`. name: the component's.
    """

    def __init__(self, vocab: Vocab, model: Model[list[Doc], Emissions], name: str = "ner") -> None:
        super().__init__(vocab, model, name, labels=[], temperature=1.0)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of their tags."""
        return tuple(self.cfg["labels"])

    @property
    def label_data(self) -> list[str]:
        """What `spacy init labels` keeps."""
        return list(self.labels)

    def add_label(self, label: str) -> int:
        """Add a label, also to a trained model: what is known stays.

        label: the name.
        Returns 1 if it is new, else 0.
        """
        if not isinstance(label, str):
            raise ValueError(f"A label is a string, not {label!r}.")
        if label in self.labels:
            return 0
        self.cfg["labels"].append(label)
        self.vocab.strings.add(label)
        if self.model.has_param(TRANSITIONS):
            resize(self.model, self._tags)
        return 1

    @property
    def _tags(self) -> int:
        return 1 + 4 * len(self.labels)

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: list[str] | None = None,
    ) -> None:
        """Read the labels from the data, unless they are given, and build the model.

        get_examples: gives the training data.
        nlp: the pipeline.
        labels: in the order of their tags.
        Raises ValueError where there is none.
        """
        validate_get_examples(get_examples, "EntityRecognizer.initialize")
        sample, found = [], set()
        for i, example in enumerate(get_examples()):
            found |= {entity.label_ for entity in example.reference.ents}
            if i < 10:
                sample.append(example.predicted)
        for label in labels if labels is not None else sorted(found):
            self.add_label(label)
        if not self.labels:
            raise ValueError(f"{self.name}: the training data holds no entity to learn from.")
        self.model.set_dim("nO", self._tags, force=True)
        self.model.initialize(X=sample)

    def predict(self, docs: Iterable[Doc]) -> list[Prediction]:
        """Spans and their probabilities, a list a Doc.

        docs: any Docs, also empty ones.
        """
        docs = list(docs)
        found: list[Prediction] = [[] for _ in docs]
        if not any(map(len, docs)):
            return found
        for where, lattice in self._lattices(self.model.predict(docs), self.cfg["temperature"]):
            for row, tags in enumerate(lattice.best()):
                found[where[row]] = [
                    (span, lattice.span_probability(row, span)) for span in spans_of(tags)
                ]
        return found

    def set_annotations(self, docs: Iterable[Doc], scores: list[Prediction]) -> None:
        """Write entities and confidences into the Docs.

        docs: the Docs. scores: what `predict` gave.
        """
        for doc, prediction in zip(docs, scores, strict=True):
            spans = []
            for (start, end, label), probability in prediction:
                span = Span(doc, start, end, label=self.labels[label])
                span._.confidence = probability
                spans.append(span)
            doc.set_ents(spans)

    def calibrate(self, examples: Iterable[Example]) -> None:
        """Fit the temperature that makes the confidences of the found entities likeliest.

        Which entities are found does not depend on it.
        examples: held-out; predicted up to this component (with what it listens to), and gold;
            where there is none, everything stays as it is.
        """
        examples = [example for example in examples if len(example.predicted)]
        if not examples:
            return
        emissions = self.model.predict([example.predicted for example in examples])
        found: list[tuple[int, Found]] = []
        right: list[bool] = []
        for where, lattice in self._lattices(emissions, 1.0):
            for i, tags in zip(where, lattice.best(), strict=True):
                gold = {key(entity) for entity in examples[i].reference.ents}
                for start, end, label in spans_of(tags):
                    span = Span(examples[i].predicted, start, end, label=self.labels[label])
                    found.append((i, (start, end, label)))
                    right.append(key(span) in gold)

        def stated(temperature: float) -> list[float]:
            at: dict[int, tuple[Lattice, int]] = {}
            for where, lattice in self._lattices(emissions, temperature):
                at |= {i: (lattice, row) for row, i in enumerate(where)}
            return [at[i][0].span_probability(at[i][1], span) for i, span in found]

        self.cfg["temperature"] = fit_temperature(stated, right)

    def _lattices(
        self, emissions: Emissions, temperature: float
    ) -> Iterator[tuple[list[int], Lattice]]:
        """Lattices of sequences of like length, and which sequences they hold."""
        order = sorted(
            (i for i, e in enumerate(emissions) if len(e)), key=lambda i: len(emissions[i])
        )
        while order:
            size = max(1, BATCH // len(emissions[order[-1]]))
            where, order = order[-size:], order[:-size]
            yield where, self._lattice([emissions[i] for i in where], temperature)

    def _lattice(self, emissions: list[Floats2d], temperature: float = 1.0) -> Lattice:
        xp = self.model.ops.xp
        lengths = [len(e) for e in emissions]
        padded = xp.zeros((len(emissions), max(lengths), emissions[0].shape[1]), dtype="f")
        for row, scores in enumerate(emissions):
            padded[row, : len(scores)] = scores / temperature
        transitions = self.model.get_param(TRANSITIONS) / temperature
        rules = grammar(len(self.labels), xp)
        return Lattice(padded, xp.asarray(lengths), transitions, rules, xp)

    def get_loss(self, examples: Iterable[Example], scores: Emissions) -> tuple[float, Emissions]:
        """Negative log-likelihood a text and its gradient by the scores; texts whose entities are
        not wholly annotated are passed over.

        examples: the batch. scores: the model's output for it.
        """
        validate_examples(examples, "EntityRecognizer.get_loss")
        self.cfg["temperature"] = 1.0  # what was fitted to the weights before does not hold for new
        gold = [self._gold(example) for example in examples]
        gradients = [self.model.ops.alloc2f(*e.shape) for e in scores]
        known = [i for i, tags in enumerate(gold) if tags]
        if not known:
            return 0.0, gradients
        lattice = self._lattice([scores[i] for i in known])
        tags = numpy.zeros(lattice.emissions.shape[:2], dtype="i")
        for row, i in enumerate(known):
            tags[row, : len(gold[i])] = gold[i]
        loss, by_emission, by_transition = lattice.loss(lattice.xp.asarray(tags))
        for row, i in enumerate(known):
            gradients[i] += by_emission[row, : len(scores[i])] / len(known)
        self.model.inc_grad(TRANSITIONS, by_transition / len(known))
        return loss / len(known), gradients

    def _gold(self, example: Example) -> list[int]:
        tags = example.get_aligned_ner()
        if any(tag is None for tag in tags):
            return []
        firsts = {label: 4 * i for i, label in enumerate(self.labels)}
        return [firsts[tag[2:]] + KINDS[tag[0]] if tag[2:] in firsts else 0 for tag in tags]

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        """spaCy's own scores of entities.

        examples: predicted and gold.
        """
        return dict(get_ner_prf(examples))
