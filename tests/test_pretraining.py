from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModel, AutoTokenizer

from spacy_goback.base import SOURCE_KEY, describe_base
from spacy_goback.masking import Rows, pack
from spacy_goback.pretraining import Plan, Pretrainer, fold
from spacy_goback.tensors import CheckpointError

TEXTS = ["18 ft clearance over street meets the requirement", "Cable buried under the driveway"]


@pytest.fixture
def plan(encoder: Path) -> Plan:
    return Plan(str(encoder), rank=4, alpha=8, length=16, batch=4, steps=30, warmup=2, head_steps=5)


@pytest.fixture
def rows(encoder: Path) -> Rows:
    return pack(TEXTS * 30, AutoTokenizer.from_pretrained(encoder), 16)


def weights(trainer: Pretrainer) -> dict[str, torch.Tensor]:
    return {k: v.detach().clone() for k, v in trainer.encoder.named_parameters()}


def test_the_adapter_learns_and_the_base_does_not_move(plan: Plan, rows: Rows) -> None:
    trainer = Pretrainer(replace(plan, rate=0.01))
    before, first = weights(trainer), trainer.evaluate(rows)
    losses = list(trainer.train(rows, plan.steps))
    assert len(losses) == plan.steps == trainer.progress.step
    assert trainer.evaluate(rows) < first - 0.2
    for name, tensor in weights(trainer).items():
        assert torch.equal(tensor, before[name]) == ("lora_" not in name), name


def test_at_first_only_the_head_learns(plan: Plan, rows: Rows) -> None:
    trainer = Pretrainer(plan)
    before = weights(trainer)
    list(trainer.train(rows, plan.head_steps))
    after = weights(trainer)
    assert all(torch.equal(before[name], after[name]) for name in before)
    list(trainer.train(rows, plan.head_steps + 1))
    after = weights(trainer)
    assert any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("pause", [3, 12])
@pytest.mark.parametrize("rank", [4, 0])
def test_a_resumed_training_is_the_same_training(
    plan: Plan, rows: Rows, tmp_path: Path, pause: int, rank: int
) -> None:
    plan = replace(plan, rank=rank, rate=1e-3)
    whole = Pretrainer(plan)
    list(whole.train(rows, 16))
    first = Pretrainer(plan)
    list(first.train(rows, pause))
    first.save(tmp_path)
    second = Pretrainer(plan)
    second.resume(tmp_path)
    list(second.train(rows, 16))
    losses = [[loss for _, loss in t.progress.trained] for t in (second, whole)]
    assert losses[0] == pytest.approx(losses[1]) and len(losses[0]) == 16
    for name, tensor in weights(second).items():
        torch.testing.assert_close(tensor, weights(whole)[name], rtol=0, atol=1e-6)


def test_another_plan_or_a_mixed_checkpoint_is_refused(
    plan: Plan, rows: Rows, tmp_path: Path
) -> None:
    trainer = Pretrainer(plan)
    list(trainer.train(rows, 2))
    trainer.save(tmp_path)
    with pytest.raises(CheckpointError, match="other settings"):
        Pretrainer(replace(plan, rate=1.0)).resume(tmp_path)
    old = (tmp_path / "exp_avg.safetensors").read_bytes()
    list(trainer.train(rows, 4))
    trainer.save(tmp_path)
    (tmp_path / "exp_avg.safetensors").write_bytes(old)
    with pytest.raises(CheckpointError, match="exp_avg is of another step"):
        Pretrainer(plan).resume(tmp_path)


def test_every_row_is_seen_once_a_pass(plan: Plan) -> None:
    trainer = Pretrainer(replace(plan, batch=4))
    found = [i for step in range(5) for i in trainer.order(10, step)]
    assert sorted(found[:10]) == sorted(found[10:]) == list(range(10)) and found[:10] != found[10:]


def test_the_exported_adapter_loads_in_peft_and_folds_into_the_same(
    plan: Plan, rows: Rows, tmp_path: Path
) -> None:
    trainer = Pretrainer(plan)
    list(trainer.train(rows, plan.steps))
    trainer.export(tmp_path / "adapter")
    fold(plan.encoder, tmp_path / "adapter", tmp_path / "folded")
    ours = trainer.encoder.eval()
    theirs = PeftModel.from_pretrained(
        AutoModel.from_pretrained(plan.encoder), tmp_path / "adapter"
    )
    folded = AutoModel.from_pretrained(tmp_path / "folded")
    plain = AutoModel.from_pretrained(plan.encoder)
    states = [
        model.eval()(input_ids=rows.ids[:3]).last_hidden_state
        for model in (ours, theirs, folded, plain)
    ]
    torch.testing.assert_close(states[1], states[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(states[2], states[0], rtol=0, atol=1e-5)
    assert (states[3] - states[0]).abs().max() > 1e-3
    assert not list(tmp_path.rglob("*.bin")) and not list(tmp_path.rglob("*.pt"))


def test_a_folded_encoder_is_known_by_what_went_in(plan: Plan, rows: Rows, tmp_path: Path) -> None:
    trainer = Pretrainer(plan)
    list(trainer.train(rows, 8))
    trainer.export(tmp_path / "adapter")
    for name in ("one", "two"):
        fold(plan.encoder, tmp_path / "adapter", tmp_path / name)
    known = [
        describe_base(str(folder), AutoModel.from_pretrained(folder).config)
        for folder in (tmp_path / "one", tmp_path / "two")
    ]
    assert known[0] == known[1] and known[0] != describe_base(plan.encoder, trainer.encoder.config)
    assert hasattr(AutoModel.from_pretrained(tmp_path / "one").config, SOURCE_KEY)
    other = AutoModel.from_pretrained(plan.encoder)
    with torch.no_grad():
        next(other.parameters()).add_(1.0)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(CheckpointError, match="trained on"):
        fold(str(tmp_path / "other"), tmp_path / "adapter", tmp_path / "three")
