"""Domain-adaptive pretraining (Gururangan et al. 2020) of an encoder as a LoRA adapter."""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import srsly
import torch
from peft import LoraConfig, PeftModel
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from .base import SOURCE_KEY, describe_base, sha256_file
from .files import write_bytes
from .lora_shim import adapter_state, config_to_json, load_adapter_state, wrap
from .masking import Rows, hide
from .tensors import CheckpointError, pack, read_header, unpack

ADAPTER = "domain"
CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
PROGRESS = "progress.json"


@dataclass(frozen=True)
class Plan:
    """What to train and how; a checkpoint of another plan is not resumed.

    encoder: path or name of the base.
    rank, alpha: of the adapter on all linear layers; rank 0 trains all weights instead.
    length: pieces a row. batch: rows a step. steps: in all.
    rate: peak learning rate, reached after `warmup` steps, then falling to zero.
    head_steps: steps at the start in which only the new head learns, so that it cannot spoil
        the encoder.
    """

    encoder: str
    rank: int = 32
    alpha: int = 64
    length: int = 128
    batch: int = 32
    steps: int = 2000
    rate: float = 5e-4
    warmup: int = 100
    head_steps: int = 150
    seed: int = 0


class Head(torch.nn.Module):
    """BERT's head for masked pieces, its last layer tied to the encoder's word embeddings.

    embeddings: (vocabulary, size) of the encoder.
    hidden: size of the encoder's states.
    """

    def __init__(self, embeddings: torch.nn.Embedding, hidden: int) -> None:
        super().__init__()
        self.transform = torch.nn.Linear(hidden, embeddings.embedding_dim)
        self.norm = torch.nn.LayerNorm(embeddings.embedding_dim)
        self.bias = torch.nn.Parameter(torch.zeros(embeddings.num_embeddings))
        self._tied = [embeddings]  # in a list, so that its weight is not this module's too

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Scores of every piece of the vocabulary: (n, hidden) to (n, vocabulary)."""
        states = self.norm(functional.gelu(self.transform(states)))
        return functional.linear(states, self._tied[0].weight, self.bias)


@dataclass
class Progress:
    """How far a training is: steps done, and the losses (nats a hidden piece) on the way."""

    step: int = 0
    trained: list[tuple[int, float]] = field(default_factory=list)
    held_out: list[tuple[int, float]] = field(default_factory=list)


class Pretrainer:
    """An encoder with a fresh or resumed adapter, and the optimizer that trains it.

    plan: what to train.
    device: of torch; half precision (bfloat16) is used on a GPU.
    """

    def __init__(self, plan: Plan, device: str = "cpu") -> None:
        torch.manual_seed(plan.seed)
        self.plan, self.device = plan, device
        self.tokenizer: Any = AutoTokenizer.from_pretrained(plan.encoder)
        encoder = AutoModel.from_pretrained(plan.encoder)
        self.base = describe_base(plan.encoder, encoder.config)
        if plan.rank:
            config = LoraConfig(r=plan.rank, lora_alpha=plan.alpha, target_modules="all-linear")
            encoder = wrap(encoder, config, ADAPTER)
        self.encoder = encoder.to(device)
        table = encoder.get_input_embeddings()
        self.head = Head(table, encoder.config.hidden_size).to(device)
        self.progress = Progress()
        self.optimizer = torch.optim.AdamW(
            self.trained_parameters(), lr=plan.rate, weight_decay=0.01
        )

    def trained_parameters(self) -> list[torch.nn.Parameter]:
        """The adapter's weights (or all of the encoder's) and the head's."""
        own = [p for p in self.encoder.parameters() if p.requires_grad]
        return [*own, *self.head.parameters()]

    def rate(self, step: int) -> float:
        """Learning rate of a step: up, then linearly down.

        step: from 0 on.
        """
        up = min(1.0, (step + 1) / max(1, self.plan.warmup))
        return self.plan.rate * up * (1 - step / self.plan.steps)

    def loss(self, rows: Rows, generator: torch.Generator) -> torch.Tensor:
        """Mean cross-entropy of the hidden pieces, in nats.

        rows: a batch.
        generator: chance of what is hidden.
        """
        mask, vocabulary = self.tokenizer.mask_token_id, len(self.tokenizer)
        shown, hidden = (t.to(self.device) for t in hide(rows, mask, vocabulary, generator))
        only_head = self.encoder.training and self.progress.step < self.plan.head_steps
        kind = torch.device(self.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu"):
            with torch.set_grad_enabled(torch.is_grad_enabled() and not only_head):
                states = self.encoder(input_ids=shown).last_hidden_state[hidden]
            scores = self.head(states)
        wanted = rows.ids.to(self.device)[hidden]
        total = functional.cross_entropy(scores.float(), wanted, reduction="sum")
        return total / max(1, len(wanted))

    def train(self, rows: Rows, until: int) -> Iterator[float]:
        """Train up to a step; yields each step's loss.

        rows: the training text.
        until: the step at which to pause, at most the plan's.
        """
        self.encoder.train()
        while self.progress.step < min(until, self.plan.steps):
            step = self.progress.step
            # Order, hiding and dropout depend on seed and step alone: a resumed run does the same.
            batch = rows.take(self.order(len(rows), step))
            generator = torch.manual_seed(self.plan.seed * 10**6 + step)
            loss = self.loss(batch, generator)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.trained_parameters(), 1.0)
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate(step)
            self.optimizer.step()
            self.progress.step += 1
            self.progress.trained.append((step, round(loss.item(), 4)))
            yield loss.item()

    def order(self, count: int, step: int) -> list[int]:
        """Which rows a step takes: a shuffled pass over all of them, then another.

        count: how many rows there are.
        step: from 0 on.
        """
        found: list[int] = []
        for i in range(step * self.plan.batch, (step + 1) * self.plan.batch):
            turn, place = divmod(i, count)
            found.append(shuffled(count, f"{self.plan.seed} {turn}")[place])
        return found

    @torch.no_grad()
    def evaluate(self, rows: Rows) -> float:
        """Loss on held-out text, always with the same words hidden.

        rows: the text.
        """
        self.encoder.eval()
        generator = torch.Generator().manual_seed(1)
        size = self.plan.batch
        batches = [rows.take(range(i, min(i + size, len(rows)))) for i in range(0, len(rows), size)]
        losses = [self.loss(batch, generator).item() for batch in batches]
        mean = sum(losses) / len(losses)
        self.progress.held_out.append((self.progress.step, round(mean, 4)))
        return mean

    def save(self, folder: Path) -> None:
        """Write a checkpoint: adapter, head, and the optimizer's two moments, a file each.

        folder: made if needed. Every file is written whole; the note of progress comes last.
        """
        for name, tensors in self._state().items():
            write_bytes(folder / f"{name}.safetensors", pack(tensors, step=str(self.progress.step)))
        note = {"plan": vars(self.plan), "base": self.base, **vars(self.progress)}
        write_bytes(folder / PROGRESS, srsly.json_dumps(note).encode())

    def resume(self, folder: Path) -> None:
        """Go on where a checkpoint of the same plan stopped.

        folder: what `save` wrote.
        Raises CheckpointError where the plan or the base differ, or the files are of two steps.
        """
        note = srsly.read_json(folder / PROGRESS)
        if (note["plan"], note["base"]) != (vars(self.plan), self.base):
            raise CheckpointError(
                f"{folder}: a training with other settings or of another encoder; give its "
                "settings, or another folder."
            )
        losses = ([(i, loss) for i, loss in note[key]] for key in ("trained", "held_out"))
        self.progress = Progress(note["step"], *losses)
        for name, tensors in self._state().items():
            data = (folder / f"{name}.safetensors").read_bytes()
            if read_header(data).get("step") != str(note["step"]):
                raise CheckpointError(f"{folder}: {name} is of another step; delete the folder.")
            saved, _ = unpack(data)
            for key, tensor in tensors.items():
                tensor.copy_(saved[key])

    def _state(self) -> dict[str, dict[str, torch.Tensor]]:
        found: dict[str, dict[str, torch.Tensor]] = {"weights": {}}
        for part, module in (("encoder", self.encoder), ("head", self.head)):
            for key, parameter in module.named_parameters():
                if not parameter.requires_grad:
                    continue
                found["weights"][f"{part}.{key}"] = parameter.data
                zero = torch.zeros_like(parameter)
                fresh = {"step": torch.tensor(0.0), "exp_avg": zero, "exp_avg_sq": zero.clone()}
                state = self.optimizer.state[parameter]
                for moment, tensor in fresh.items():
                    kept = state.setdefault(moment, tensor)
                    found.setdefault(moment, {})[f"{part}.{key}"] = kept
        return found

    def export(self, folder: Path) -> None:
        """Write the adapter as PEFT does, or the whole encoder where all weights were trained.

        folder: made if needed.
        """
        if not isinstance(self.encoder, PeftModel):
            self.encoder.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
            return
        config = srsly.json_loads(config_to_json(self.encoder.peft_config[ADAPTER]))
        config["base_model_name_or_path"] = self.base["name"]
        weights = pack(adapter_state(self.encoder, ADAPTER), **self.base)
        write_bytes(folder / CONFIG_FILE, srsly.json_dumps(config, indent=1).encode())
        write_bytes(folder / WEIGHTS_FILE, weights)


@lru_cache(maxsize=2)
def shuffled(count: int, seed: str) -> list[int]:
    """The numbers below a count in an order that the seed decides; kept for the steps of a pass.

    count: how many. seed: any text.
    """
    return random.Random(seed).sample(range(count), count)


def fold(base: str, adapter: Path, target: Path) -> None:
    """Fold a domain adapter into an encoder: a plain encoder, for any architecture.

    base: path or name of the encoder that the adapter was trained on.
    adapter: folder in PEFT's format.
    target: folder of the new encoder.
    Raises CheckpointError where the adapter does not fit.
    """
    encoder = AutoModel.from_pretrained(base)
    known = describe_base(base, encoder.config)
    data = (adapter / WEIGHTS_FILE).read_bytes()
    (state, _), header = unpack(data), read_header(data)
    if "sha256" in header and "sha256" in known and header["sha256"] != known["sha256"]:
        raise CheckpointError(f"{adapter}: trained on {header['name']}, not on {known['name']}.")
    model = wrap(encoder, LoraConfig.from_pretrained(str(adapter)), ADAPTER)
    load_adapter_state(model, ADAPTER, state)
    merged: Any = model.merge_and_unload()
    merged.save_pretrained(target)
    AutoTokenizer.from_pretrained(base).save_pretrained(target)
    # Folded weights differ between CPUs in the last bit: what went in identifies the result.
    source = getattr(encoder.config, SOURCE_KEY, None) or known
    parts = f"{known.get('sha256', known['name'])} {sha256_file(adapter / WEIGHTS_FILE)}"
    settings = srsly.read_json(target / "config.json")
    settings[SOURCE_KEY] = {
        **source,
        "name": f"{known['name']} with a domain adapter",
        "sha256": hashlib.sha256(parts.encode()).hexdigest(),
        "converted": sha256_file(target / "model.safetensors"),
    }
    srsly.write_json(target / "config.json", settings)
