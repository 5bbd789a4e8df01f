import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spacy_goback.tensors import CheckpointError, find_aliases, pack, read_header, restore, unpack


class Tied(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(3, 3)
        self.second = torch.nn.Linear(3, 3)
        self.second.weight = self.first.weight


def test_tied_tensors_are_stored_once_and_tied_again() -> None:
    module = Tied()
    data = pack(module.state_dict())
    tensors, aliases = unpack(data)
    assert aliases == {"second.weight": "first.weight"}
    assert set(tensors) == {"first.weight", "first.bias", "second.bias"}
    fresh = Tied()
    fresh.second.weight = torch.nn.Parameter(torch.zeros(3, 3))
    restore(fresh, data, "x")
    assert fresh.second.weight is fresh.first.weight
    assert torch.equal(fresh.first.weight, module.first.weight)


def test_equal_but_separate_tensors_are_no_aliases() -> None:
    assert find_aliases({"a": torch.ones(2), "b": torch.ones(2)}) == {}


@pytest.mark.parametrize(
    "change", [lambda s: s.pop("second.bias"), lambda s: s.update({"third": torch.ones(1)})]
)
def test_restore_refuses_another_set_of_tensors(change: object) -> None:
    state = dict(Tied().state_dict())
    change(state)  # type: ignore[operator]
    with pytest.raises(CheckpointError, match="saved with transformers 4"):
        restore(Tied(), pack(state), "transformers 4")


def test_restore_refuses_another_shape_and_names_it() -> None:
    state = dict(Tied().state_dict()) | {"first.bias": torch.ones(4)}
    with pytest.raises(CheckpointError, match=r"first: 'first\.bias'"):
        restore(Tied(), pack(state), "x")


@given(st.binary(max_size=200))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        unpack(data)


def test_half_precision_survives() -> None:
    module = Tied().half()
    fresh = Tied()
    restore(fresh, pack(module.state_dict()), "x")
    assert fresh.first.weight.dtype == torch.float16


def test_header_holds_extra_strings() -> None:
    assert read_header(pack({"a": torch.ones(1)}, colour="red"))["colour"] == "red"
