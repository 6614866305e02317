"""What a method is given: the model it asks about, a meter, and the checkpoint it must pass between batches."""

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import torch
from pydantic import BaseModel

from explaind.contract.blocks.subject import ModelRequest, PromptRequest
from explaind.contract.catalogue import ModelKind
from explaind.contract.errors import (
    ModelLoadFailed,
    PromptTooLong,
    RequestTooLarge,
    StoreUnavailable,
    TargetTooLong,
    WrongModelKind,
)
from explaind.contract.job import Provenance, Timing
from explaind.contract.method import Method
from explaind_jobs.catalogue import ModelEntry
from explaind_jobs.files.file_store import Files
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.engine.scoring.value_function import Checkpoint
from explaind_worker.models.loading.loading import AnyModel, LoadedClassifier, LoadedModel
from explaind_worker.models.loading.tokenizer import EncodedPrompt, Encoder
from explaind_worker.models.pool.lease import ModelPin
from explaind_worker.models.pool.memory_budget import in_words
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.models.pool.timing_model import Measurement
from explaind_worker.models.structure.anatomy import Anatomy
from explaind_worker.session.provenance import provenance_of, timing_of

T = TypeVar("T")


class Session:
    """One job's view of the worker. Its weights are loaded when `model()` is first called, not before.

    From then on the model stays in memory until the session is closed; use it as a context. A method whose work means
    something before it is complete says as `part` how to make a result of what there is, for a job that is cancelled.

    A session that is `rehearsing` gives a model without weights, on which a method's forwards are counted and not
    made; `least_bytes` is then what its largest row needs. `files` are the datasets and artifacts of whoever asked.
    """

    def __init__(
        self,
        entry: ModelEntry,
        pool: ModelPool,
        checkpoint: Checkpoint,
        *,
        rehearsing: bool = False,
        files: Files | None = None,
    ) -> None:
        self.entry = entry
        self.pool = pool
        self.rehearsing = rehearsing
        self.kept_files = files
        self.least_bytes = 0
        self.meter = CostMeter()
        self.encoded: EncodedPrompt | None = None
        self.part: Callable[[], BaseModel] | None = None
        self._checkpoint = checkpoint
        self._phases: list[str] = []
        self._shared: dict[Hashable, object] = {}
        self._encoder: Encoder | None = None
        self._lease: ModelPin | None = None
        self._sketched = False
        self._pointer = "/prompt"
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """The job has ended: its model may leave the memory."""
        if self._lease is not None:
            self._lease.release()

    def checkpoint(self, phase: str, done: int, total: int | None, unit: str) -> None:
        """Says how far the job is, and learns whether it must stop; to be passed between batches."""
        self._checkpoint(": ".join([*self._phases, phase]), done, total, unit)

    @contextmanager
    def within(self, part: str) -> Iterator[None]:
        """While it lasts, every phase is told as one of this part of the job: "faithfulness: evaluating"."""
        self._phases.append(part)
        try:
            yield
        finally:
            self._phases.pop()

    def shared(self, key: Hashable, make: Callable[[], T]) -> T:
        """What the job's parts have in common: made by the first that asks for `key`, kept as long as the session."""
        if key not in self._shared:
            self._shared[key] = make()
        return cast("T", self._shared[key])

    @property
    def loaded(self) -> bool:
        """Whether the job has used the model's weights."""
        return self._lease is not None or self._sketched

    @property
    def files(self) -> Files:
        """The datasets that the job may read and the artifacts it may read and leave; a rehearsal keeps none.

        Raises:
            StoreUnavailable: this session was made without a store.
        """
        if self.kept_files is None:
            raise StoreUnavailable(
                "Datasets and artifacts are not at hand here: this session was made without a store of files.",
                hint="Send the request to a service, whose workers have one.",
            )
        return self.kept_files.rehearsing() if self.rehearsing else self.kept_files

    @property
    def encoder(self) -> Encoder:
        """The model's tokenizer."""
        if self._encoder is None:
            self._encoder = self.pool.encoder(self.entry, while_waiting=self._while_loading)
        return self._encoder

    def model(self) -> LoadedModel:
        """The causal language model, loaded if it was not.

        Raises:
            WrongModelKind: it is a classifier; said before its weights are touched.
            ModelLoadFailed, ModelTooLarge, SelfCheckFailed, OutOfMemory: why it cannot be had.
        """
        self._require("causal")
        model = self.either_model()
        assert isinstance(model, LoadedModel)  # noqa: S101 - its tokenizer says so, and is of the same files
        return model

    def anatomy(self) -> Anatomy:
        """The causal language model's parts, told without its weights: what they are shaped like.

        Raises:
            WrongModelKind: it is a classifier.
            ModelLoadFailed, SelfCheckFailed: its config is not there, or of no kind that is known.
        """
        self._require("causal")
        sketch = self.pool.sketch(self.entry)
        assert isinstance(sketch, LoadedModel)  # noqa: S101 - as its tokenizer says
        return sketch.anatomy

    def classifier(self) -> LoadedClassifier:
        """The sequence classifier, loaded if it was not.

        Raises:
            WrongModelKind: it is a causal language model; said before its weights are touched.
            ModelLoadFailed, ModelTooLarge, SelfCheckFailed, OutOfMemory: why it cannot be had.
        """
        self._require("classifier")
        model = self.either_model()
        assert isinstance(model, LoadedClassifier)  # noqa: S101 - its tokenizer says so, and is of the same files
        return model

    @property
    def kind(self) -> ModelKind:
        """What the model is, told without its weights."""
        return "causal" if self.encoder.classes is None else "classifier"

    def _require(self, kind: ModelKind) -> None:
        if self.kind == kind:
            return
        if kind == "causal":
            raise WrongModelKind.at(
                "/model",
                f"{self.entry.name} is a classifier: it puts a text into classes and does not continue it.",
                hint="It does infer/classify, infer/tokenize and attributions whose target is a class; for this choose "
                'a model of GET /models whose kind is "causal".',
            )
        raise WrongModelKind.at(
            "/model",
            f"{self.entry.name} is a causal language model: it has no classes of its own.",
            hint='Choose a model of GET /models whose kind is "classifier".',
        )

    def either_model(self) -> AnyModel:
        """The model, whichever kind it is, loaded if it was not; in a rehearsal a sketch of it, on which engines count.

        Raises:
            ModelLoadFailed, ModelTooLarge, SelfCheckFailed, OutOfMemory: why it cannot be had.
        """
        if self.rehearsing:
            self._sketched = True
            return self.pool.sketch(self.entry)
        if self._lease is None:
            if self.entry.name not in self.pool.resident():
                self._while_loading()
            self._lease = self.pool.lease(self.entry, while_waiting=self._while_loading)
            if self._lease.model.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self._lease.model.device)
            if self._encoder not in (None, self._lease.model.encoder):
                raise ModelLoadFailed(
                    f"The files of {self.entry.name} changed while the job was running.", hint="Send it again."
                )
        return self._lease.model

    def room(
        self, tokens: int, *, reads: int = 1, new_tokens: int = 0, weights: bool = False, kept: int = 0
    ) -> BatchLimits:
        """How large a batch may be of rows of so many tokens, of which logits are read at `reads` places.

        With `new_tokens` one row is continued by so many, and its cache kept meanwhile; with `weights` the attention
        writes its weights out; `kept` are bytes that are needed beside all batches. Other models that no job uses leave
        the memory where not even one row would fit beside them. To be asked before the first forward.

        Raises:
            RequestTooLarge: one row would not fit if this model were alone.
        """
        footprint = Footprint.of(self.either_model())
        if weights:
            footprint = replace(footprint, fused=False)
        cache = footprint.cache_bytes(1, tokens + new_tokens) if new_tokens else 0
        needed = footprint.forward_bytes(1, tokens, reads=reads, cached=True)
        if cache:
            needed -= footprint.cache_bytes(1, tokens)  # it is among the kept
        return self._limits(f"Evaluating one row of {tokens + new_tokens} tokens", needed, kept=kept + cache)

    def graph_room(self, rows: int, tokens: int, *, reads: int = 1) -> BatchLimits:
        """How large a batch may be whose graph is kept for a backward pass; at least so many rows go together.

        To be asked before the first forward.

        Raises:
            RequestTooLarge: so many rows would not fit if this model were alone.
        """
        needed = Footprint.of(self.either_model()).graph_bytes(rows, tokens, reads=reads)
        together = "one row" if rows == 1 else f"{rows} rows, which the score needs together,"
        return self._limits(f"The gradient of {together} of {tokens} tokens", needed)

    def _limits(self, what: str, needed: int, *, kept: int = 0) -> BatchLimits:
        model = self.either_model()
        if self.rehearsing:  # whether it fits is what was asked
            self.least_bytes = max(self.least_bytes, needed + kept)
            room = self.pool.prospect(self.entry, needed + kept).room - kept
            return BatchLimits.for_device(model.device, bytes=max(needed, room))
        assert self._lease is not None  # noqa: S101 - either_model() has set it
        most = self._lease.most_room
        if needed + kept > most:
            raise RequestTooLarge.at(
                self._pointer,
                f"{what} needs {in_words(needed + kept)} of memory; beside {self.entry.name} this worker has "
                f"{in_words(max(0, most))}.",
                hint="Shorten the prompt, the target or the continuation, or use a smaller or quantized model.",
            )
        return BatchLimits.for_device(model.device, bytes=max(needed, self._lease.room(needed, kept=kept)))

    def encode(self, request: PromptRequest) -> EncodedPrompt:
        """The request's prompt, checked against the model's limits before its weights are touched.

        Raises:
            PromptTooLong: it has more tokens than the catalogue allows or than fit the context.
        """
        self.encoded = self.encode_part(request, "/prompt" if request.prompt is not None else "/messages")
        return self.encoded

    def encode_part(self, request: PromptRequest, pointer: str) -> EncodedPrompt:
        """One prompt of several, made of what stands at `pointer`; checked like the request's own.

        Raises:
            PromptTooLong: it has more tokens than the catalogue allows or than fit the context.
        """
        encoded = self.encoder.prompt(request)
        allowed = min(self.entry.limits.max_prompt_tokens, self.encoder.context)
        if len(encoded) > allowed:
            raise PromptTooLong.at(
                pointer,
                f"The prompt has {len(encoded)} tokens; {self.entry.name} takes at most {allowed}.",
                hint="Shorten the prompt, or choose a model with a longer context.",
            )
        self._pointer = pointer
        return encoded

    def check_rows_fit(self, tokens: int) -> None:
        """Refuses stand-ins for absent units that make the rows, of so many tokens, longer than the context.

        Raises:
            PromptTooLong: they do.
        """
        if tokens > self.encoder.context:
            raise PromptTooLong.at(
                "/absent",
                f"With this text for every absent unit a row has up to {tokens} tokens; the context of "
                f"{self.entry.name} has {self.encoder.context}.",
                hint='Give a shorter text, choose "mask" or "remove", or larger units.',
            )

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
        model = self._lease.model if self._lease else None
        ids = list(self.encoded.token_ids) if self.encoded else []
        return provenance_of(self.entry, model, model or self._encoder, ids, method=method, params=params)

    def timing(self, queued_s: float) -> Timing:
        """What the job cost so far."""
        model, load_s = (self._lease.model, self._lease.load_s) if self._lease else (None, 0.0)
        return timing_of(self.meter, model, queued_s=queued_s, seconds=time.monotonic() - self._started, load_s=load_s)

    def remember_pace(self) -> None:
        """The job is done: how long it took is what the next estimate goes by."""
        # One that loaded the model has read its tokenizer too, and met it cold.
        if self._lease is not None and self._lease.load_s == 0 and self.meter.forwards:
            seconds = time.monotonic() - self._started
            self.pool.learn(self.entry, Measurement(self.meter.work, seconds))

    def _while_loading(self) -> None:
        self.checkpoint("loading model", 0, None, "models")
