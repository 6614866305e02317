"""What a method is given: the model it asks about, a meter, and the checkpoint it must pass between batches."""

import platform
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from explaind.contract.errors import PromptTooLong, TargetTooLong
from explaind.contract.job import Provenance, Timing
from explaind.contract.method import Method
from explaind.contract.subject import ModelRequest, PromptRequest
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.engine.meter import Meter
from explaind_worker.engine.value import Checkpoint
from explaind_worker.models.encoding import EncodedPrompt, Encoder
from explaind_worker.models.loading import LoadedModel, device_of, fingerprint
from explaind_worker.models.pool import ModelPool

RECORDED = ("explaind", "torch", "transformers", "tokenizers", "numpy")


class Session:
    """One job's view of the worker. Its weights are loaded when `model()` is first called, not before."""

    def __init__(self, entry: ModelEntry, pool: ModelPool, checkpoint: Checkpoint) -> None:
        self.entry = entry
        self.checkpoint = checkpoint
        self.meter = Meter()
        self.encoded: EncodedPrompt | None = None
        self._pool = pool
        self._model: LoadedModel | None = None
        self._load_s = 0.0
        self._started = time.monotonic()

    @property
    def encoder(self) -> Encoder:
        """The model's tokenizer."""
        return self._pool.encoder(self.entry, while_waiting=self._while_loading)

    def model(self) -> LoadedModel:
        """The model, loaded if it was not."""
        if self._model is None:
            if self.entry.name not in self._pool.resident():
                self._while_loading()
            self._model, self._load_s = self._pool.model(self.entry, while_waiting=self._while_loading)
            if self._model.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self._model.device)
        return self._model

    def encode(self, request: PromptRequest) -> EncodedPrompt:
        """The request's prompt, checked against the model's limits before its weights are touched.

        Raises:
            PromptTooLong: it has more tokens than the catalogue allows or than fit the context.
        """
        encoded = self.encoder.prompt(request)
        pointer = "/prompt" if request.prompt is not None else "/messages"
        allowed = min(self.entry.limits.max_prompt_tokens, self.encoder.context)
        if len(encoded) > allowed:
            raise PromptTooLong.at(
                pointer,
                f"The prompt has {len(encoded)} tokens; {self.entry.name} takes at most {allowed}.",
                hint="Shorten the prompt, or choose a model with a longer context.",
            )
        self.encoded = encoded
        return encoded

    def check_fits(self, encoded: EncodedPrompt, new_tokens: int, pointer: str) -> None:
        """Refuses a continuation that is too long.

        Raises:
            TargetTooLong: it has more tokens than the catalogue allows, or prompt and target overrun the context.
        """
        allowed = self.entry.limits.max_target_tokens
        if new_tokens > allowed:
            message = f"The target has {new_tokens} tokens; {self.entry.name} takes at most {allowed}."
            raise TargetTooLong.at(pointer, message, hint="Shorten the target.")
        if len(encoded) + new_tokens > self.encoder.context:
            message = (
                f"Prompt ({len(encoded)} tokens) and target ({new_tokens}) are longer than the context of "
                f"{self.entry.name}, {self.encoder.context} tokens."
            )
            raise TargetTooLong.at(pointer, message, hint="Shorten the prompt or the target.")

    def provenance(self, method: Method[..., Any], params: ModelRequest) -> Provenance:
        """What is needed to replay the job."""
        model = self._model
        return Provenance(
            model=self.entry.name,
            source=self.entry.card("cold").source,
            revision=fingerprint(self.entry),
            architecture=type(model.network).__name__ if model else None,
            dtype=model.dtype if model else None,
            quantization=self.entry.quantization,
            device=str(model.device) if model else device_of(self.entry),
            seed=getattr(params, "seed", None),
            token_ids=list(self.encoded.token_ids) if self.encoded else [],
            method_version=method.version,
            versions={"python": platform.python_version(), **_versions(RECORDED)},
        )

    def timing(self, queued_s: float) -> Timing:
        """What the job cost so far."""
        model = self._model
        on_gpu = model is not None and model.device.type == "cuda"
        return Timing(
            queued_s=queued_s,
            seconds=time.monotonic() - self._started,
            model_load_s=self._load_s,
            forwards=self.meter.forwards,
            tokens_evaluated=self.meter.tokens_evaluated,
            tokens_saved=self.meter.tokens_saved,
            peak_bytes=torch.cuda.max_memory_allocated(model.device) if model and on_gpu else None,
        )

    def _while_loading(self) -> None:
        self.checkpoint("loading model", 0, None, "models")


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
