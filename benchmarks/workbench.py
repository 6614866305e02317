"""A model on disk, loaded twice: by the worker as for a job, and plainly for the peers."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from benchmarks.alternating import Array
from benchmarks.counting import Counter
from benchmarks.settings import Settings
from benchmarks.shapes import Prompt, Shape
from explaind.contract.catalogue import ModelLimits
from explaind.contract.registry import find_method
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models.loading.loaded import LoadedModel
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.runtime.runner import implementation_of
from explaind_worker.session.session import Session


class Workbench:
    """One shape: results of our methods on it, and the network and tokenizer for the peers.

    The peers' network is a separate one, as loaded by transformers, so that the worker's changes to its models do not
    affect them.
    """

    def __init__(self, shape: Shape, folder: Path, settings: Settings) -> None:
        self.shape, self.device = shape, torch.device(settings.device)
        self.dtype = getattr(torch, settings.dtype)
        limits = ModelLimits(max_prompt_tokens=1024, max_target_tokens=64)
        self.entry = ModelEntry(
            name=shape.name,
            path=shape.save(folder, device=settings.device, dtype=settings.dtype),
            dtype=settings.dtype,
            device=settings.device,
            description="",
            limits=limits,
        )
        self._pool = ModelPool()
        self.network: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder, dtype=self.dtype, device_map={"": settings.device}
        ).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.tokenizer.padding_side = "left"
        self.counters = [Counter(self.network), Counter(self._pool.model(self.entry)[0].network)]

    def tensor(self, values: Any) -> torch.Tensor:
        """Token ids or the like, on the device of the peers' network."""
        return torch.as_tensor(values, device=self.device)

    def close(self) -> None:
        """Stops counting."""
        for counter in self.counters:
            counter.close()

    def ours(self, method: str, prompt: Prompt, **fields: Any) -> Array:
        """The method's values [unit] for that prompt and target, as computed by a worker."""
        asked = {"prompt": prompt.text, "target": {"token_ids": list(prompt.target_ids)}}
        return np.array(self.asked(method, **{**asked, **fields}).model_dump()["values"])

    def asked(self, method: str, **fields: Any) -> Any:
        """The method's result, as computed by a worker."""
        found = find_method(method)
        params = found.params_model.model_validate({"model": self.entry.name, **fields})
        with Session(self.entry, self._pool, lambda *_: None) as session:
            return implementation_of(found)(params, session)

    def evict(self) -> None:
        """Evicts the worker's model."""
        self._pool.make_room(self.entry, self._pool.bytes_budget())

    def bytes_used(self) -> int:
        """Bytes of the worker's model, according to its ledger."""
        return self._pool.bytes_used()

    @property
    def model(self) -> LoadedModel:
        """The model in the worker's pool."""
        model = self._pool.model(self.entry)[0]
        assert isinstance(model, LoadedModel)  # noqa: S101 - all shapes are language models
        return model
