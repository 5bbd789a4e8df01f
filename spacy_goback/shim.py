"""The layer between thinc and a Hugging Face encoder: safetensors, averages, worker processes."""

import contextlib
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import srsly
import torch
from spacy_transformers.data_classes import HFObjects
from spacy_transformers.layers.hf_shim import HFShim
from thinc.api import get_torch_default_device, xp2torch
from thinc.shims import Shim
from thinc.types import ArgsKwargs
from transformers import AutoConfig, AutoModel, AutoTokenizer

from .tensors import CheckpointError, pack, restore
from .workers import limit_worker_threads

FORMAT = "goback.transformer"
FORMAT_VERSION = 1


class EncoderShim(HFShim):
    """Holds the Hugging Face encoder: stock behaviour, but safetensors and no silent loss."""

    base: dict[str, str]

    def __init__(
        self,
        model: HFObjects,
        mixed_precision: bool,
        scaler: dict[str, Any],
        gradient_checkpointing: bool = False,
    ) -> None:
        # A pipeline trained in half precision on a GPU is used on CPUs too, which have none.
        mixed = mixed_precision and get_torch_default_device().type == "cuda"
        # HFShim writes into the dictionary that it is given.
        super().__init__(model, mixed_precision=mixed, grad_scaler_config=dict(scaler))
        self.base = {}
        self.gradient_checkpointing = gradient_checkpointing

    def plain_model(self) -> torch.nn.Module:
        """The encoder without adapters, names as in its own checkpoint."""
        model: torch.nn.Module = self._model
        return model

    def plain_state(self) -> dict[str, torch.Tensor]:
        """Weights of the encoder without adapters, by the names of its own checkpoint."""
        return self.plain_model().state_dict()

    def adapters_to_message(self) -> dict[str, Any]:
        """Adapters for the checkpoint: none in a plain encoder."""
        return {}

    def adapters_from_message(self, message: dict[str, Any]) -> None:
        """Put adapters of a checkpoint onto the freshly loaded encoder.

        message: what `adapters_to_message` gave.
        Raises CheckpointError: a plain encoder has no place for adapters.
        """
        if message:
            raise CheckpointError(
                "This checkpoint holds LoRA adapters: load it with goback.LoraTransformerModel.v1, "
                "or fold them in first with spacy_goback.merge_adapter."
            )

    def set_encoder(self, objects: HFObjects) -> None:
        """Take over a tokenizer and an encoder.

        objects: as spacy-transformers hands them around.
        """
        self._hfmodel = objects
        self._model = objects.transformer
        if self.gradient_checkpointing and objects.transformer is not None:
            objects.transformer.gradient_checkpointing_enable({"use_reentrant": False})

    def predict(self, inputs: ArgsKwargs) -> Any:
        """Run the encoder without gradients; unlike stock it stays in evaluation mode after.

        inputs: input_ids, attention_mask (and token_type_ids), each (batch, pieces).
        """
        limit_worker_threads()
        # Flipping back to training mode, as stock does, races with other threads of a service.
        if self._model.training:
            self._model.eval()
        with torch.no_grad(), torch.autocast("cuda", enabled=self._mixed_precision):
            return self._model(*inputs.args, **inputs.kwargs)

    @contextlib.contextmanager
    def use_params(self, params: dict[Any, Any]) -> Iterator[None]:
        """Swap in averaged weights for a while; stock thinc skips the encoder here.

        params: arrays by (shim id, parameter name), as the optimizer's averages have them.
        """
        backup: dict[torch.nn.Parameter, torch.Tensor] = {}
        if self._model is not None:
            for name, parameter in self._model.named_parameters():
                value = params.get((self.id, name))
                if value is not None:
                    backup[parameter] = parameter.data
                    parameter.data = xp2torch(value, device=parameter.device).to(parameter.dtype)
        try:
            yield
        finally:
            for parameter, data in backup.items():
                parameter.data = data

    def to_bytes(self) -> bytes:
        """Serialize configuration, tokenizer, weights and adapters; no pickle inside."""
        objects = self._hfmodel
        empty = objects.transformer is None
        message: dict[str, Any] = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "saved_with": f"transformers {version('transformers')}",
            "base": self.base,
            "tokenizer_config": dict(objects._init_tokenizer_config) if empty else {},
            "transformer_config": dict(objects._init_transformer_config) if empty else {},
            "config": None,
        }
        if not empty:
            config = objects.transformer.config
            message["config"] = srsly.json_loads(config.to_json_string(use_diff=False))
            message["config"].pop("_name_or_path", None)  # a path of the machine that trained it
            message["attention"] = config._attn_implementation
            message["tokenizer"] = _tokenizer_files(objects)
            message["fast_tokenizer"] = objects.tokenizer.is_fast
            message["weights"] = pack(self.plain_state())
            message["adapters"] = self.adapters_to_message()
        data: bytes = srsly.msgpack_dumps(message)
        return data

    def from_bytes(self, bytes_data: bytes) -> "EncoderShim":
        """Rebuild exactly what `to_bytes` saved.

        bytes_data: from `to_bytes` of this or an earlier release.
        Raises CheckpointError where it is something else or does not fit, in one sentence.
        """
        message = srsly.msgpack_loads(bytes_data)
        if message.get("format") != FORMAT:
            raise CheckpointError(
                "This encoder was not saved by spacy-goback (spacy-transformers' own format?): "
                "load it with spacy-transformers.TransformerModel.v3 or train again."
            )
        if message["version"] != FORMAT_VERSION:
            raise CheckpointError(
                f"This encoder was saved in format {message['version']}, this release reads format "
                f"{FORMAT_VERSION}: install the release of spacy-goback that wrote it, or a later "
                "one."
            )
        before = self.__dict__.copy()
        try:
            self._restore(message)
        except CheckpointError:
            self.__dict__.update(before)  # a refused checkpoint leaves what was there
            raise
        return self

    def _restore(self, message: dict[str, Any]) -> None:
        self.base = message["base"]
        if message["config"] is None:
            empty = message["tokenizer_config"], message["transformer_config"]
            self.set_encoder(HFObjects(None, None, None, *empty))
            return
        tokenizer, vocabulary = _load_tokenizer(message)
        encoder = _build_encoder(message)
        self.set_encoder(HFObjects(tokenizer, encoder, vocabulary, {}, {}))
        self.adapters_from_message(message["adapters"])
        self._model.to(get_torch_default_device())
        self._model.eval()

    def __getstate__(self) -> dict[str, Any]:
        state = {k: v for k, v in self.__dict__.items() if k not in ("_model", "_hfmodel")}
        return {**state, "payload": self.to_bytes()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        payload = state.pop("payload")
        self.__dict__.update(state)
        # Optimizers key their moments by this number: a copy must not share the original's.
        with Shim.global_id_lock:
            Shim.global_id += 1
            self.id = Shim.global_id
        self.from_bytes(payload)


def _tokenizer_files(objects: HFObjects) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = objects.tokenizer
        if objects.vocab_file_contents:
            # Some tokenizers copy the vocabulary from the file that they were read from.
            file = Path(folder, tokenizer.vocab_files_names["vocab_file"])
            file.write_bytes(objects.vocab_file_contents)
            tokenizer.vocab_file = str(file)
        tokenizer.save_pretrained(folder)
        return {file.name: file.read_bytes() for file in Path(folder).iterdir() if file.is_file()}


def _load_tokenizer(message: dict[str, Any]) -> tuple[Any, bytes | None]:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in message["tokenizer"].items():
            Path(folder, name).write_bytes(content)
        srsly.write_json(Path(folder, "config.json"), message["config"])
        use_fast = message["fast_tokenizer"]
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=use_fast)
        tokenizer.name_or_path = ""
        return tokenizer, _vocabulary(tokenizer)


def _vocabulary(tokenizer: Any) -> bytes | None:
    file = getattr(tokenizer, "vocab_file", None)
    return Path(file).read_bytes() if file and Path(file).is_file() else None


def load_pretrained(name: str, tokenizer_config: Any, transformer_config: Any) -> HFObjects:
    """Tokenizer and encoder from a name or path.

    name: what `from_pretrained` takes.
    tokenizer_config, transformer_config: further arguments for it.
    """
    tokenizer = AutoTokenizer.from_pretrained(name, **tokenizer_config)
    settings = {**transformer_config, "return_dict": True}
    config = AutoConfig.from_pretrained(name, **settings)
    encoder = AutoModel.from_pretrained(name, config=config)
    encoder.to(get_torch_default_device())
    return HFObjects(tokenizer, encoder, _vocabulary(tokenizer), {}, {})


def _build_encoder(message: dict[str, Any]) -> torch.nn.Module:
    config = dict(message["config"])
    config.pop("transformers_version", None)
    try:
        built = AutoConfig.for_model(config.pop("model_type"), **config)
    except ValueError as error:
        raise CheckpointError(
            f"The installed transformers {version('transformers')} does not know this encoder; it "
            f"was saved with {message['saved_with']}."
        ) from error
    encoder = AutoModel.from_config(built, attn_implementation=message["attention"])
    restore(encoder, message["weights"], message["saved_with"])
    encoder.eval()
    assert isinstance(encoder, torch.nn.Module)
    return encoder
