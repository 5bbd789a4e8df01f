"""The recognizer on real components: small vectors of its own, and a tiny transformer."""

from pathlib import Path
from typing import Any

import numpy
import pytest
import spacy
from conftest import CRF, GOLD, TEXTS, examples, pipeline_config
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import registry

from spacy_goback.recognizer import EntityRecognizer

SMALL = {
    "@architectures": "goback.CrfTagger.v1",
    "tok2vec": {
        "@architectures": "spacy.HashEmbedCNN.v2",
        "pretrained_vectors": None,
        "width": 32,
        "depth": 1,
        "embed_size": 200,
        "window_size": 1,
        "maxout_pieces": 2,
        "subword_features": True,
    },
}


def build(model: dict[str, Any] = SMALL) -> Language:
    spacy.util.fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.add_pipe("goback_ner", name="ner", config={"model": model})
    nlp.initialize(lambda: examples(nlp))
    return nlp


def learn(nlp: Language, steps: int = 60) -> dict[str, float]:
    optimizer = nlp.create_optimizer()
    optimizer.learn_rate = 0.01
    losses: dict[str, float] = {}
    for _ in range(steps):
        losses = {}
        nlp.update(examples(nlp), sgd=optimizer, losses=losses)
    return losses


def found(doc: Doc) -> list[tuple[int, int, str]]:
    return [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]


@pytest.fixture(scope="module")
def trained() -> Language:
    nlp = build()
    learn(nlp)
    return nlp


def test_labels_come_from_the_data() -> None:
    nlp = build()
    labels = sorted({label for _, spans in GOLD for _, _, label in spans})
    assert list(nlp.get_pipe("ner").labels) == labels
    assert nlp.get_pipe("ner").model.get_dim("nO") == 1 + 4 * len(labels)


def test_given_labels_keep_their_order() -> None:
    nlp = spacy.blank("en")
    component = nlp.add_pipe("goback_ner", config={"model": SMALL})
    nlp.config["initialize"]["components"]["goback_ner"] = {"labels": ["ZONE", "MEASURE"]}
    nlp.initialize(lambda: examples(nlp))
    assert list(component.labels) == component.label_data == ["ZONE", "MEASURE"]


def test_it_learns_and_says_how_sure_it_is(trained: Language) -> None:
    for text, spans in GOLD:
        doc = trained(text)
        assert found(doc) == spans
        assert all(0.5 < ent._.confidence <= 1 for ent in doc.ents)
    strange = trained("Zebra quilts 77 sing clearance")
    assert all(0 <= ent._.confidence <= 1 for ent in strange.ents)


def test_confidence_is_the_share_of_all_taggings(trained: Language) -> None:
    ner = trained.get_pipe("ner")
    doc = trained.make_doc(TEXTS[0])
    (prediction,) = ner.predict([doc])
    scores = ner.model.predict([doc])
    lattice = ner._lattice(scores)
    for span, probability in prediction:
        assert probability == pytest.approx(lattice.span_probability(0, span))
        label = span[2]
        if span[1] - span[0] == 1:  # of one token: the marginal of its tag
            tag = 4 + 4 * label
            assert probability == pytest.approx(lattice.marginals()[0, span[0], tag], abs=1e-5)


def test_one_text_at_a_time_and_many_agree(trained: Language) -> None:
    texts = [*TEXTS, "", "18 ft", " ".join(TEXTS * 4)]
    together = list(trained.pipe(texts, batch_size=6))
    for text, doc in zip(texts, together, strict=True):
        alone = trained(text)
        assert found(alone) == found(doc)
        for a, b in zip(alone.ents, doc.ents, strict=True):
            assert a._.confidence == pytest.approx(b._.confidence, abs=1e-5)


def test_a_lower_temperature_is_surer(trained: Language) -> None:
    ner = trained.get_pipe("ner")
    sure = {}
    for temperature in (0.5, 1.0, 2.0):
        ner.cfg["temperature"] = temperature
        sure[temperature] = [ent._.confidence for ent in trained(TEXTS[0]).ents]
    ner.cfg["temperature"] = 1.0
    assert all(a > b > c for a, b, c in zip(*(sure[t] for t in (0.5, 1.0, 2.0)), strict=True))


def test_training_on_makes_a_calibration_void() -> None:
    nlp = build()
    learn(nlp)
    nlp.get_pipe("ner").cfg["temperature"] = 4.0
    assert nlp.evaluate(examples(nlp))["ents_f"] == 1.0
    assert nlp.get_pipe("ner").cfg["temperature"] == 4.0
    learn(nlp, steps=1)
    assert nlp.get_pipe("ner").cfg["temperature"] == 1.0


@pytest.mark.parametrize("way", ["disk", "bytes"])
def test_round_trip(trained: Language, tmp_path: Path, way: str) -> None:
    if way == "disk":
        trained.to_disk(tmp_path)
        again = spacy.load(tmp_path)
        assert (tmp_path / "ner" / "model").read_bytes()[8:9] == b"{"  # safetensors' header
    else:
        again = spacy.blank("en")
        again.add_pipe("goback_ner", name="ner", config={"model": SMALL})
        again.from_bytes(trained.to_bytes())
    for text in TEXTS:
        first, second = trained(text), again(text)
        assert found(first) == found(second)
        sure = ([ent._.confidence for ent in doc.ents] for doc in (first, second))
        assert next(sure) == next(sure)


def test_a_label_added_later_leaves_the_others_alone(trained: Language) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("goback_ner", name="ner", config={"model": SMALL})
    nlp.from_bytes(trained.to_bytes())
    before = [found(nlp(text)) for text in TEXTS]
    assert nlp.get_pipe("ner").add_label("GRADE") == 1
    assert nlp.get_pipe("ner").add_label("GRADE") == 0
    scores = nlp.get_pipe("ner").model.predict([nlp.make_doc(TEXTS[0])])[0]
    assert scores.shape[1] == 1 + 4 * len(nlp.get_pipe("ner").labels)
    assert len(before) == len(TEXTS)
    doc = nlp.make_doc("Grade B here")
    gold = Example.from_dict(doc, {"entities": [(0, 7, "GRADE")]})
    optimizer = nlp.resume_training()
    for _ in range(40):
        nlp.update([gold, *examples(nlp)], sgd=optimizer)
    assert found(nlp("Grade B here")) == [(0, 7, "GRADE")]


def test_scores_are_spacys_own(trained: Language) -> None:
    scores = trained.evaluate(examples(trained))
    assert scores["ents_f"] == 1.0 and set(scores["ents_per_type"]) == {
        label for _, spans in GOLD for _, _, label in spans
    }


def test_half_annotated_texts_teach_nothing() -> None:
    nlp = build()
    ner = nlp.get_pipe("ner")
    assert isinstance(ner, EntityRecognizer)
    unknown = Example(nlp.make_doc(TEXTS[0]), nlp.make_doc(TEXTS[0]))
    scores, _ = ner.model.begin_update([unknown.predicted])
    loss, gradients = ner.get_loss([unknown], scores)
    assert loss == 0 and not numpy.asarray(gradients[0]).any()


def test_no_entity_in_the_data_is_refused() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("goback_ner", config={"model": SMALL})
    empty = [Example.from_dict(nlp.make_doc("nothing"), {"entities": []})]
    with pytest.raises(ValueError, match="holds no entity"):
        nlp.initialize(lambda: empty)


def test_it_listens_to_a_lora_encoder(encoder: Path, tmp_path: Path) -> None:
    spacy.util.fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.add_pipe(
        "transformer", config=pipeline_config(encoder, "goback.LoraTransformerModel.v1", rank=4)
    )
    listener = {
        "@architectures": "spacy-transformers.TransformerListener.v1",
        "grad_factor": 1.0,
        "pooling": {"@layers": "reduce_mean.v1"},
    }
    model = {"@architectures": "goback.CrfTagger.v1", "tok2vec": listener}
    nlp.add_pipe("goback_ner", name="ner", config={"model": model})
    nlp.initialize(lambda: examples(nlp))
    first = learn(nlp, steps=1)["ner"]
    assert learn(nlp, steps=30)["ner"] < first / 2
    nlp.to_disk(tmp_path)
    again = spacy.load(tmp_path)
    assert [found(again(text)) for text in TEXTS] == [found(nlp(text)) for text in TEXTS]


def test_the_names_are_registered() -> None:
    assert "goback.CrfTagger.v1" in registry.architectures
    assert "goback_ner" in registry.factories


SHAPES = {
    "@architectures": "spacy.Tok2Vec.v2",
    "embed": {
        "@architectures": "spacy.MultiHashEmbed.v2",
        "width": 16,
        "attrs": ["PREFIX", "SHAPE"],
        "rows": [100, 100],
        "include_static_vectors": False,
    },
    "encode": {
        "@architectures": "spacy.MaxoutWindowEncoder.v2",
        "width": 16,
        "window_size": 1,
        "maxout_pieces": 2,
        "depth": 1,
    },
}


def test_features_stand_beside_the_vectors(tmp_path: Path) -> None:
    nlp = build({**SMALL, "features": SHAPES})
    ner = nlp.get_pipe("ner")
    assert ner.model.get_ref("output").get_dim("nI") == 32 + 16
    learn(nlp)
    nlp.to_disk(tmp_path)
    again = spacy.load(tmp_path)
    for text, spans in GOLD:
        assert found(nlp(text)) == found(again(text)) == spans


def test_features_and_a_listener(encoder: Path, tmp_path: Path) -> None:
    spacy.util.fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.add_pipe(
        "transformer", config=pipeline_config(encoder, "goback.LoraTransformerModel.v1", rank=4)
    )
    nlp.add_pipe("goback_ner", name="ner", config={"model": {**CRF["model"], "features": SHAPES}})
    nlp.initialize(lambda: examples(nlp))
    learn(nlp, steps=40)
    before = [found(nlp(text)) for text in TEXTS]
    assert any(before)
    nlp.replace_listeners("transformer", "ner", ["model.tok2vec"])
    nlp.remove_pipe("transformer")
    nlp.to_disk(tmp_path)
    assert [found(spacy.load(tmp_path)(text)) for text in TEXTS] == before
