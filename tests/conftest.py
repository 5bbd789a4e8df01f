"""Tiny real encoders, built on the spot: random weights, real architectures and tokenizers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from spacy.language import Language
from spacy.training import Example
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertModel,
    DistilBertTokenizerFast,
    ElectraConfig,
    ElectraModel,
    ElectraTokenizerFast,
    RobertaConfig,
    RobertaModel,
    RobertaTokenizerFast,
)

TEXTS = [
    "18 ft clearance over street meets G.O. 95 requirement",
    "Pole 7 was set 5 feet deep; the down guy has no insulator.",
    "Cable buried 24 inches under the driveway.",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
BERT_SIZE = {**SIZE, "intermediate_size": 64, "max_position_embeddings": 64}
FAMILIES: dict[str, tuple[Any, Any, Any, dict[str, int]]] = {
    "distilbert": (
        DistilBertConfig,
        DistilBertModel,
        DistilBertTokenizerFast,
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 64},
    ),
    "bert": (BertConfig, BertModel, BertTokenizerFast, BERT_SIZE),
    "electra": (
        ElectraConfig,
        ElectraModel,
        ElectraTokenizerFast,
        {**BERT_SIZE, "embedding_size": 16},
    ),
    "roberta": (RobertaConfig, RobertaModel, RobertaTokenizerFast, BERT_SIZE),
}


def write_wordpiece(folder: Path) -> int:
    pieces = sorted(
        {c for text in TEXTS for c in text.lower()}
        | set("abcdefghijklmnopqrstuvwxyz0123456789'\"-#/%°")
    )
    words = sorted({word for text in TEXTS for word in text.lower().split()})
    vocabulary = SPECIAL + pieces + [f"##{piece}" for piece in pieces] + words
    unique = list(dict.fromkeys(vocabulary))
    (folder / "vocab.txt").write_text("\n".join(unique), "utf8")
    return len(unique)


def write_encoder(folder: Path, family: str = "distilbert", **settings: Any) -> Path:
    """Save a tiny random encoder of a family with its tokenizer; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config_class, model_class, tokenizer_class, size = FAMILIES[family]
    if family == "roberta":
        bpe = ByteLevelBPETokenizer()
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        bpe.train_from_iterator(TEXTS, vocab_size=320, special_tokens=special)
        bpe.save_model(str(folder))
        tokenizer = tokenizer_class(str(folder / "vocab.json"), str(folder / "merges.txt"))
        pieces = len(tokenizer)
    else:
        pieces = write_wordpiece(folder)
        tokenizer = tokenizer_class(str(folder / "vocab.txt"))
    tokenizer.model_max_length = 62
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    model_class(config_class(vocab_size=pieces, **{**size, **settings})).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny DistilBERT that most tests use."""
    return write_encoder(tmp_path_factory.mktemp("encoder") / "tiny-distilbert")


def pipeline_config(encoder: Path, architecture: str, **model: Any) -> dict[str, Any]:
    """The [transformer] component's configuration with an architecture of ours."""
    spans = {"@span_getters": "spacy-transformers.strided_spans.v1", "window": 32, "stride": 24}
    return {
        "model": {
            "@architectures": architecture,
            "name": str(encoder),
            "get_spans": spans,
            "tokenizer_config": {"use_fast": True},
            **model,
        }
    }


LISTENER = {
    "@architectures": "spacy-transformers.TransformerListener.v1",
    "grad_factor": 1.0,
    "pooling": {"@layers": "reduce_mean.v1"},
}
NER = {
    "model": {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "state_type": "ner",
        "extra_state_tokens": False,
        "hidden_width": 16,
        "maxout_pieces": 2,
        "use_upper": False,
        "tok2vec": LISTENER,
    }
}
CRF = {"model": {"@architectures": "goback.CrfTagger.v1", "tok2vec": LISTENER}}
GOLD = [
    (TEXTS[0], [(0, 5, "MEASURE"), (6, 15, "SPECIFICATION"), (21, 27, "LOCATION")]),
    (TEXTS[1], [(0, 4, "EQUIPMENT"), (15, 21, "MEASURE"), (32, 40, "EQUIPMENT")]),
    (TEXTS[2], [(0, 5, "EQUIPMENT"), (13, 22, "MEASURE"), (33, 41, "LOCATION")]),
]


def examples(nlp: Language) -> list[Example]:
    return [
        Example.from_dict(nlp.make_doc(text), {"entities": entities}) for text, entities in GOLD
    ]


def build(
    encoder: Path,
    architecture: str = "goback.LoraTransformerModel.v1",
    tokenizer: str = "spacy.Tokenizer.v1",
    recognizer: str = "ner",
    **model: Any,
) -> Language:
    """An initialized pipeline: transformer and a recognizer, "ner" or "goback_ner"."""
    nlp = spacy.blank("en", config={"nlp": {"tokenizer": {"@tokenizers": tokenizer}}})
    nlp.add_pipe("transformer", config=pipeline_config(encoder, architecture, **model))
    nlp.add_pipe(recognizer, name="ner", config=NER if recognizer == "ner" else CRF)
    spacy.util.fix_random_seed(0)
    nlp.initialize(lambda: examples(nlp))
    return nlp


def train(nlp: Language, steps: int = 5, rate: float = 0.01, **update: Any) -> Any:
    """A few steps on the three gold sentences; returns the optimizer."""
    from thinc.api import Adam

    optimizer = Adam(rate, use_averages=True)
    batch = examples(nlp)
    frozen = update.get("exclude", ())
    for _ in range(steps):  # as `spacy train` does it: first all gradients, then the step
        nlp.update(batch, sgd=False, **update)
        for name, component in nlp.pipeline:
            if name not in frozen:
                component.finish_update(optimizer)
    return optimizer


@pytest.fixture
def lora(encoder: Path) -> Language:
    """A freshly initialized LoRA pipeline."""
    return build(encoder)


@pytest.fixture
def trained(lora: Language) -> Language:
    """A LoRA pipeline after a few steps."""
    train(lora)
    return lora


@pytest.fixture
def make_encoder(tmp_path: Path) -> Callable[..., Path]:
    """Write a tiny encoder of any family into the test's own folder."""
    return lambda family="distilbert", **settings: write_encoder(
        tmp_path / f"tiny-{family}", family, **settings
    )


# Code for another interpreter, in which neither the library nor PEFT can be found.
HIDE_LIBRARY = """
import sys
import catalogue
points = catalogue.AVAILABLE_ENTRY_POINTS
class Others:
    def select(self, group):
        return [p for p in points.select(group=group) if not p.value.startswith("spacy_goback")]
catalogue.AVAILABLE_ENTRY_POINTS = Others()
sys.modules["spacy_goback"] = sys.modules["peft"] = None  # cannot be imported
"""
