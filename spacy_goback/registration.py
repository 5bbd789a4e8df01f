"""Registered functions for a wheel that carries its own copy of the run-time modules.

Where the library is installed its entry points come first, whichever was imported first: the
copy in the wheel then registers only names that the library does not have.
"""

from collections.abc import Callable
from typing import Any

import spacy
from spacy.language import Language

from .policy import FACTORY as ENTITY_POLICY
from .policy import create_entity_policy
from .recognizer import FACTORY as RECOGNIZER
from .recognizer import create_entity_recognizer
from .tagger import crf_tagger
from .tokenizer import create_tokenizer
from .transformer import tok2vec_transformer, transformer_model

FUNCTIONS: dict[str, dict[str, Callable[..., Any]]] = {
    "architectures": {
        "goback.TransformerModel.v1": transformer_model,
        "goback.Tok2VecTransformer.v1": tok2vec_transformer,
        "goback.CrfTagger.v1": crf_tagger,
    },
    "tokenizers": {"goback.tokenizer.v1": create_tokenizer},
}
FACTORIES: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "goback_ner": (create_entity_recognizer, RECOGNIZER),
    "goback_entity_policy": (create_entity_policy, ENTITY_POLICY),
}


def register() -> None:
    """Register every run-time function whose name nobody serves yet."""
    for registry_name, functions in FUNCTIONS.items():
        registry = getattr(spacy.registry, registry_name)
        for name, function in functions.items():
            if name not in registry:
                registry.register(name, func=function)
    for name, (function, settings) in FACTORIES.items():
        # Where spaCy itself looks for factories that are not imported yet.
        if name not in spacy.registry._entry_point_factories:
            Language.factory(name, func=function, **settings)
