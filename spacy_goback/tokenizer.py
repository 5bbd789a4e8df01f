"""A tokenizer that never glues a unit to its number or a sentence's period to a unit."""

import re
from collections.abc import Callable

import spacy
from spacy.language import Language
from spacy.tokenizer import Tokenizer

# Between a digit and a letter, and around every mark that is not inside a number:
# "12kV." is 12 kV . and "17ft9in" is 17 ft 9 in, while "22,500" and "336.4" stay whole.
BOUNDARY = re.compile(r"(?<=\d)(?=[^\W\d_])|(?<=[^\W\d_])(?=\d)|(?<!\d)[.,]|[.,](?!\d)|[^\w\s.,]|_")
# spaCy leaves an infix alone where it opens the string, so opening marks are prefixes.
OPENING = re.compile(r"^(?:[^\w\s.,]|[.,](?!\d)|_)")


def create_tokenizer() -> Callable[[Language], Tokenizer]:
    """Build `goback.tokenizer.v1`: runs of letters, numbers and single marks.

    Every span that annotators draw by character can be expressed in its tokens, as long as the
    span does not cut a word or a number in two. It holds no exceptions: "G.O. 95" is five tokens.
    """
    return make_tokenizer


def blank() -> Language:
    """An empty English pipeline with this tokenizer, for reading and writing annotations."""
    nlp = spacy.blank("en")
    nlp.tokenizer = make_tokenizer(nlp)
    return nlp


def make_tokenizer(nlp: Language) -> Tokenizer:
    """The tokenizer on a pipeline's vocabulary.

    nlp: the pipeline.
    """
    return Tokenizer(nlp.vocab, prefix_search=OPENING.search, infix_finditer=BOUNDARY.finditer)
