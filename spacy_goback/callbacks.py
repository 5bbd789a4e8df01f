"""Callbacks of training: the confidences of a pipeline are calibrated before it is saved."""

from collections.abc import Callable, Iterable

from spacy.language import Language
from spacy.training import Example


def create_calibrate(
    corpus: Callable[[Language], Iterable[Example]],
) -> Callable[[Language], Language]:
    """Build `goback.calibrate.v1`, for [training.before_to_disk].

    corpus: held-out texts; give it the reader of the development set, ${corpora.dev}.
    """

    def calibrate(nlp: Language) -> Language:
        examples = list(corpus(nlp))
        docs = [nlp.make_doc(example.reference.text) for example in examples]
        for _, pipe in nlp.pipeline:
            if hasattr(pipe, "calibrate"):
                pairs = zip(docs, examples, strict=True)
                pipe.calibrate([Example(doc, example.reference) for doc, example in pairs])
            stream = getattr(pipe, "pipe", None)
            docs = list(stream(docs, batch_size=nlp.batch_size) if stream else map(pipe, docs))
        return nlp

    return calibrate
