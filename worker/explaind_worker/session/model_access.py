"""Access of a job to its model: tokenizer, kind, anatomy, memory limits, and the weights, loaded on first use.

Members are in the order in which a method should use them: requests are refused on account of tokenizer, config or
memory before the weights are loaded.
"""

from dataclasses import replace

import torch

from explaind.contract.blocks.subject import PromptRequest, TextTarget, TokenIdsTarget
from explaind.contract.catalogue import ModelKind
from explaind.contract.errors import ModelLoadFailed, RequestTooLarge, WrongModelKind
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.engine.scoring.value_function import ReportProgress
from explaind_worker.hub.catalogue_entries import fetched_bytes
from explaind_worker.models.loading.loaded import AnyModel, LoadedClassifier, LoadedModel
from explaind_worker.models.loading.meta_model import AnyMetaModel, MetaModel
from explaind_worker.models.pool.lease import ModelPin
from explaind_worker.models.pool.memory_budget import in_words
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.models.structure.anatomy import Anatomy
from explaind_worker.models.structure.narrow_copy import narrow_bytes
from explaind_worker.models.text.template_clock import TemplateClock
from explaind_worker.models.text.tokenizer import EncodedPrompt, Encoder
from explaind_worker.session.prompt_record import PromptRecord


class ModelAccess:
    """One model of the catalogue, used by one job; it is pinned in memory from its first use until `close`.

    In a `dry_run` the model has no weights, and `least_bytes` is what its largest row needs, `copy_bytes` what a copy
    of its layers would take up. `prompt_pointer` is the field that is named where a row does not fit the memory,
    `products` the type of its matrix products where that is not the model's own; `record` holds what was read so far.
    """

    def __init__(
        self, entry: ModelEntry, pool: ModelPool, report_progress: ReportProgress, *, dry_run: bool = False
    ) -> None:
        self.entry = entry
        self.pool = pool
        self.least_bytes = 0
        self.copy_bytes = 0
        self.prompt_pointer = "/prompt"
        self.products: str | None = None
        self.record = PromptRecord()
        self._dry_run = dry_run
        self._report_progress = report_progress
        self._encoder: Encoder | None = None
        self._pin: ModelPin | None = None
        self._copied = False
        self._meta_used = False
        self._clock = TemplateClock()
        self._chats: dict[str, EncodedPrompt] = {}

    def close(self) -> None:
        """Unpins the model at the end of the job."""
        if self._pin is not None:
            self._pin.release()

    # Without weights: tokenizer and config.

    @property
    def encoder(self) -> Encoder:
        """The model's tokenizer."""
        if self._encoder is None:
            self._encoder = self.pool.encoder(self.entry, while_waiting=self._while_loading)
        return self._encoder

    def prompt(self, request: PromptRequest, pointer: str = "/prompt") -> EncodedPrompt:
        """The request's prompt, encoded; messages are written by the chat template once in a job, at one moment.

        It is recorded for the notes of the result, which name it by `pointer`, its field in the request.

        Raises:
            NoChatTemplate, InvalidRequest: as `Encoder.prompt`.
        """
        encoded = self._encoded(request)
        self.record.prompt(encoded, pointer)
        return encoded

    def _encoded(self, request: PromptRequest) -> EncodedPrompt:
        if request.messages is None:
            return self.encoder.prompt(request)
        key = repr([(message.role, message.content) for message in request.messages])
        if key not in self._chats:
            self._chats[key] = self.encoder.prompt(request, self._clock)
        return self._chats[key]

    def continuation(
        self, encoded: EncodedPrompt, target: TextTarget | TokenIdsTarget | str, *, pointer: str = "/target"
    ) -> tuple[int, ...]:
        """Token ids of what is scored after that prompt; a text is recorded for the notes of the result.

        Raises:
            InvalidTarget: as `Encoder.continuation`.
        """
        ids = self.encoder.continuation(encoded, target, pointer=pointer)
        if not isinstance(target, TokenIdsTarget):
            self.record.continuation(encoded, target if isinstance(target, str) else target.text, ids, pointer)
        return ids

    @property
    def prompts_constant(self) -> bool:
        """Whether the same request always gives the same prompt."""
        return all(chat.constant for chat in self._chats.values())

    @property
    def kind(self) -> ModelKind:
        """The kind of model, according to its tokenizer's files."""
        return "causal" if self.encoder.classes is None else "classifier"

    def require(self, kind: ModelKind) -> None:
        """Refuses a model of the other kind.

        Raises:
            WrongModelKind: it is of the other kind.
        """
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

    def anatomy(self) -> Anatomy:
        """The causal language model's parts and their shapes, from its config.

        Raises:
            WrongModelKind: it is a classifier.
            ModelLoadFailed, SelfCheckFailed: its config is missing, or of an unknown kind.
        """
        return self.meta_model().anatomy

    def meta_model(self) -> MetaModel:
        """The causal language model without its weights.

        Raises:
            WrongModelKind: it is a classifier.
            ModelLoadFailed, SelfCheckFailed: its config is missing, or of an unknown kind.
        """
        self.require("causal")
        model = self._described()
        assert isinstance(model, MetaModel)  # noqa: S101 - according to its tokenizer
        return model

    @property
    def footprint(self) -> Footprint:
        """The sizes that determine its memory: from the model in memory, or from its config if it is not loaded."""
        model = self._in_memory_or_described()
        footprint = Footprint.of(model)
        return footprint.with_narrow_products(model) if self._copied else footprint

    def _in_memory_or_described(self) -> AnyModel:
        resident = not self._dry_run and self.entry.name in self.pool.resident()
        return self.either_model() if resident else self._described()

    # Memory: refused before the weights are loaded; then loads them.

    def batch_limits(
        self, tokens: int, *, reads: int = 1, new_tokens: int = 0, weights: bool = False, kept: int = 0
    ) -> BatchLimits:
        """Batch limits for rows of `tokens` tokens with logits at `reads` positions.

        With `new_tokens` one row is continued by that many, and its cache kept meanwhile; with `weights` the attention
        materializes its weights; `kept` are bytes needed beside all batches. Unused models are evicted if not even one
        row would fit. Call it before the first forward.

        Raises:
            RequestTooLarge: one row would not fit even if this model were alone; raised before its weights are loaded.
            ModelLoadFailed, ModelTooLarge, SelfCheckFailed, OutOfMemory: the model cannot be loaded.
        """
        footprint = self.footprint
        if weights:
            footprint = replace(footprint, fused=False)
        cache = footprint.cache_bytes(1, tokens + new_tokens) if new_tokens else 0
        # A row that leaves its length class is read again from the start.
        lengths = self._in_memory_or_described().lengths
        whole = tokens if lengths.alike((tokens, tokens + new_tokens)) else tokens + new_tokens
        needed = footprint.forward_bytes(1, whole, reads=reads, cached=True)
        if cache:
            needed -= footprint.cache_bytes(1, whole)  # included in the kept bytes
        return self._limits(f"Evaluating one row of {tokens + new_tokens} tokens", needed, kept=kept + cache)

    def gradient_batch_limits(self, rows: int, tokens: int, *, reads: int = 1) -> BatchLimits:
        """Batch limits with a graph kept for a backward pass; at least `rows` rows per batch.

        Call it before the first forward.

        Raises:
            RequestTooLarge: that many rows would not fit even if this model were alone; raised before its weights are
                loaded.
            ModelLoadFailed, ModelTooLarge, SelfCheckFailed, OutOfMemory: the model cannot be loaded.
        """
        needed = self.footprint.graph_bytes(rows, tokens, reads=reads)
        together = "one row" if rows == 1 else f"{rows} rows, which the score needs together,"
        return self._limits(f"The gradient of {together} of {tokens} tokens", needed)

    def _limits(self, what: str, needed: int, *, kept: int = 0) -> BatchLimits:
        if self._dry_run:  # whether it fits is a result here, not a reason to refuse
            return self._dry_limits(needed, kept)
        if self._pin is None:
            self._refuse_before_loading(what, needed + kept)
        model = self.either_model()
        assert self._pin is not None  # noqa: S101 - set by either_model()
        self._refuse_too_large(what, needed + kept, self._pin.most_room)
        return BatchLimits.for_device(model.device, bytes=max(needed, self._pin.room(needed, kept=kept)))

    def _dry_limits(self, needed: int, kept: int) -> BatchLimits:
        self.least_bytes = max(self.least_bytes, needed + kept)
        room = self.pool.memory_forecast(self.entry, needed + kept).room - kept
        return BatchLimits.for_device(self.either_model().device, bytes=max(needed, room))

    def _refuse_before_loading(self, what: str, needed: int) -> None:
        forecast = self.pool.memory_forecast(self.entry, needed)
        if forecast.weights_fit:  # otherwise loading reports what is wrong
            self._refuse_too_large(what, needed, forecast.most_room)

    def _refuse_too_large(self, what: str, needed: int, most: int) -> None:
        if needed > most:
            raise RequestTooLarge.at(
                self.prompt_pointer,
                f"{what} needs {in_words(needed)} of memory; beside {self.entry.name} this worker has "
                f"{in_words(max(0, most))}.",
                hint="Shorten the prompt, the target or the continuation, or use a smaller or quantized model.",
            )

    # Weights.

    def model(self) -> LoadedModel:
        """The causal language model, loaded if necessary.

        Raises:
            WrongModelKind: it is a classifier; raised before its weights are loaded.
            ModelLoadFailed, ModelTooLarge, SelfCheckFailed, OutOfMemory: it cannot be loaded.
        """
        self.require("causal")
        model = self.either_model()
        assert isinstance(model, LoadedModel)  # noqa: S101 - according to its tokenizer, read from the same files
        return model

    def classifier(self) -> LoadedClassifier:
        """The sequence classifier, loaded if necessary.

        Raises:
            WrongModelKind: it is a causal language model; raised before its weights are loaded.
            ModelLoadFailed, ModelTooLarge, SelfCheckFailed, OutOfMemory: it cannot be loaded.
        """
        self.require("classifier")
        model = self.either_model()
        assert isinstance(model, LoadedClassifier)  # noqa: S101 - according to its tokenizer, read from the same files
        return model

    def either_model(self) -> AnyModel:
        """The model of either kind, loaded if necessary; in a dry run without weights.

        Raises:
            ModelLoadFailed, ModelTooLarge, SelfCheckFailed, OutOfMemory: it cannot be loaded.
        """
        if self._dry_run:
            self._meta_used = True
            return self._described()
        if self._pin is None:
            self._pin = self._pinned()
        return self._pin.model

    def narrow_copy(self, tokens: int, *, reads: int) -> AnyModel | str:
        """The model's copy with products in bfloat16, leaving memory for a row of `tokens` tokens; or why not.

        Call it after `batch_limits`, and call that again afterwards. In a dry run the copy is counted, not made.
        """
        model = self.either_model()
        footprint = self.footprint.with_narrow_products(model)
        least = footprint.forward_bytes(1, tokens, reads=reads, cached=True)
        if self._pin is None:
            self.copy_bytes, copy = narrow_bytes(model.network), model
        else:
            copy = self._pin.narrow_copy(least, while_waiting=self._while_copying)
        self._copied = not isinstance(copy, str)
        return copy

    @property
    def loaded(self) -> bool:
        """Whether the job has used the model's weights (in a dry run: would have used)."""
        return self._pin is not None or self._meta_used

    @property
    def pin(self) -> ModelPin | None:
        """The job's pin of the model; None before the first use of its weights, and in a dry run."""
        return self._pin

    @property
    def read_from(self) -> AnyModel | Encoder | None:
        """The part of the model read from files so far: its weights, its tokenizer alone, or nothing."""
        return self._pin.model if self._pin else self._encoder

    def _pinned(self) -> ModelPin:
        if self.entry.name not in self.pool.resident():
            self._while_loading()
        pin = self.pool.pin(self.entry, while_waiting=self._while_loading)
        if pin.model.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pin.model.device)
        if self._encoder not in (None, pin.model.encoder):
            pin.release()
            raise ModelLoadFailed(
                f"The files of {self.entry.name} changed while the job was running.", hint="Send it again."
            )
        return pin

    def _described(self) -> AnyMetaModel:
        """The model without weights, built from its config."""
        return self.pool.meta_model(self.entry, while_waiting=self._while_loading)

    def _while_loading(self) -> None:
        coming = fetched_bytes(self.entry)
        if coming is None:
            self._report_progress("loading the model", 0, None, "models")
        else:
            self._report_progress("fetching the model from the hub", *coming, "bytes")

    def _while_copying(self) -> None:
        self._report_progress("rounding the weights to bfloat16", 0, None, "models")
