from typing import Any

import numpy
import pytest
from thinc.api import Linear, Model, Relu, chain

from spacy_goback.weights import SafetensorsModel, WeightsError


def forward(model: Model[Any, Any], X: Any, is_train: bool) -> tuple[Any, Any]:
    return model.layers[0](X, is_train)


def build(*layers: Model[Any, Any]) -> SafetensorsModel[Any, Any]:
    return SafetensorsModel("outer", forward, layers=list(layers))


def filled() -> SafetensorsModel[Any, Any]:
    model = build(chain(Linear(2, 3), Relu(4, 2)))
    model.layers[0].initialize()
    return model


def test_weights_come_back_bit_for_bit() -> None:
    model, again = filled(), build(chain(Linear(), Relu()))
    again.from_bytes(model.to_bytes())
    X = numpy.ones((1, 3), dtype="f")
    assert numpy.array_equal(model.predict(X), again.predict(X))


def test_a_composed_name_may_tell_of_a_replaced_layer() -> None:
    model = filled()
    model.layers[0].name = "listener>>relu"
    assert build(chain(Linear(), Relu())).from_bytes(model.to_bytes()).layers[0].has_dim("nO")


@pytest.mark.parametrize("other", [chain(Relu(), Linear()), Linear()])
def test_weights_of_another_model_are_refused(other: Model[Any, Any]) -> None:
    with pytest.raises(WeightsError, match="are of another model"):
        build(other).from_bytes(filled().to_bytes())


def test_a_broken_file_is_refused() -> None:
    with pytest.raises(WeightsError, match="no whole safetensors file"):
        filled().from_bytes(filled().to_bytes()[:-5])
