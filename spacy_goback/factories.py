"""Entry points of the components: spaCy imports this module to find them."""

from spacy.language import Language

from .registration import FACTORIES

entity_recognizer, entity_policy = (
    Language.factory(name, func=function, **settings)
    for name, (function, settings) in FACTORIES.items()
)
