"""The model below the entity recognizer: token vectors to tag scores, and scores of transitions."""

from collections.abc import Callable
from typing import Any

from spacy.tokens import Doc
from thinc.api import Linear, Model, chain, concatenate, with_array
from thinc.types import Floats2d

from .weights import SafetensorsModel

TRANSITIONS = "transitions"
Emissions = list[Floats2d]


def crf_tagger(
    tok2vec: Model[list[Doc], list[Floats2d]],
    features: Model[list[Doc], list[Floats2d]] | None = None,
    nO: int | None = None,
) -> Model[list[Doc], Emissions]:
    """Build `goback.CrfTagger.v1`: a linear layer on token vectors, and a transition matrix.

    tok2vec: gives (tokens, width) for each Doc; a listener, or a layer of its own.
    features: a second such layer, whose vectors stand beside those of the first; for what an
        encoder's word pieces hide, such as the shape of a word.
    nO: number of tags, 1 + 4 * labels; set at initialization.
    """
    output: Model[Floats2d, Floats2d] = Linear()
    vectors = concatenate(tok2vec, features) if features is not None else tok2vec
    emitter: Model[list[Doc], Emissions] = chain(vectors, with_array(output))
    return SafetensorsModel(
        "crf_tagger",
        _forward,
        init=_initialize,
        layers=[emitter],
        refs={"tok2vec": tok2vec, "output": output},
        dims={"nO": nO},
        params={TRANSITIONS: None},
    )


def _forward(
    model: Model[list[Doc], Emissions], docs: list[Doc], is_train: bool
) -> tuple[Emissions, Callable[[Emissions], list[Doc]]]:
    # The gradient of the transitions does not come through here: the loss adds it.
    return model.layers[0](docs, is_train)


def _initialize(
    model: Model[list[Doc], Emissions], X: list[Doc] | None = None, Y: Any = None
) -> None:
    tags = model.get_dim("nO")
    model.get_ref("output").set_dim("nO", tags, force=True)
    model.layers[0].initialize(X=X)
    if not model.has_param(TRANSITIONS):
        model.set_param(TRANSITIONS, model.ops.alloc2f(tags, tags))


def resize(model: Model[list[Doc], Emissions], tags: int) -> None:
    """Make room for further tags after the known ones, which keep their weights.

    model: an initialized `goback.CrfTagger.v1`.
    tags: how many there shall be.
    """
    output = model.get_ref("output")
    old, width = model.get_dim("nO"), output.get_dim("nI")
    weights: Any = model.ops.alloc2f(tags, width)
    bias: Any = model.ops.alloc1f(tags)
    steps: Any = model.ops.alloc2f(tags, tags)
    weights[:old], bias[:old] = output.get_param("W"), output.get_param("b")
    steps[:old, :old] = model.get_param(TRANSITIONS)
    grown: tuple[tuple[Model[Any, Any], dict[str, Any]], ...] = (
        (output, {"W": weights, "b": bias}),
        (model, {TRANSITIONS: steps}),
    )
    for node, arrays in grown:
        for name in arrays:
            node.set_param(name, None)  # Thinc changes no dimension under a parameter
        node.set_dim("nO", tags, force=True)
        for name, array in arrays.items():
            node.set_param(name, array)
