"""Calibration inside a training, on the recognizer and the policy."""

from collections.abc import Iterator

import pytest
import spacy
from conftest import examples
from spacy.language import Language
from spacy.training import Example
from spacy.util import registry
from test_recognizer import SMALL, learn

from spacy_goback.calibration import brier
from spacy_goback.callbacks import create_calibrate
from spacy_goback.confidence import key

# Texts that look like the training's, of which half are marked otherwise: nobody can be sure.
DOUBTFUL = "{} ft clearance over street meets G.O. 95 requirement"


def doubtful(nlp: Language) -> Iterator[Example]:
    for i in range(20):
        spans = [(0, 5, "MEASURE")] if i % 2 else [(0, 2, "MEASURE")]
        yield Example.from_dict(nlp.make_doc(DOUBTFUL.format(10 + i)), {"entities": spans})


def pipeline() -> Language:
    spacy.util.fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.add_pipe("goback_ner", name="ner", config={"model": SMALL})
    ruler = nlp.add_pipe("span_ruler", config={"spans_key": "ruler"})
    nlp.add_pipe("goback_entity_policy", name="policy")
    nlp.initialize(lambda: examples(nlp))
    ruler.add_patterns([{"label": "STANDARD", "pattern": [{"TEXT": "G.O."}, {"TEXT": "95"}]}])
    learn(nlp)
    return nlp


def badness(nlp: Language) -> float:
    confidence, right = [], []
    for example in doubtful(nlp):
        gold = {key(entity) for entity in example.reference.ents}
        for entity in nlp(example.reference.text).ents:
            confidence.append(entity._.confidence)
            right.append(key(entity) in gold)
    return brier(confidence, right)


def test_confidences_come_down_to_what_comes_true() -> None:
    nlp = pipeline()
    before, found = badness(nlp), [len(nlp(e.reference.text).ents) for e in doubtful(nlp)]
    assert create_calibrate(doubtful)(nlp) is nlp
    assert nlp.get_pipe("ner").cfg["temperature"] > 1
    assert nlp.get_pipe("policy").cfg == {"right": 0, "all": 20}
    assert badness(nlp) < before
    assert [len(nlp(e.reference.text).ents) for e in doubtful(nlp)] == found


def test_without_held_out_texts_nothing_is_claimed() -> None:
    nlp = pipeline()
    create_calibrate(lambda nlp: [])(nlp)
    assert nlp.get_pipe("ner").cfg["temperature"] == 1


def test_the_name_is_registered() -> None:
    assert registry.callbacks.get("goback.calibrate.v1") is create_calibrate


@pytest.mark.parametrize("recipe", ["lora", "full", "tok2vec"])
def test_recipes_calibrate_on_the_development_set(recipe: str) -> None:
    config = spacy.util.load_config(f"configs/{recipe}.cfg", interpolate=True)
    assert config["training"]["before_to_disk"]["corpus"]["path"] == config["paths"]["dev"]
