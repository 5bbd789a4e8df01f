"""Entry points of the components: spaCy imports this module to find them."""

from spacy.language import Language

from .entities import FACTORY, create_entity_recognizer

entity_recognizer = Language.factory("goback_ner", func=create_entity_recognizer, **FACTORY)
