"""Tokenization: prompts or messages to token ids with character offsets, and token ids back to clean text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from transformers import PreTrainedTokenizerFast
from transformers.tokenization_utils_base import BatchEncoding

from explaind.contract.blocks.subject import PromptRequest, TextTarget, TokenIdsTarget
from explaind.contract.errors import InvalidRequest, InvalidTarget
from explaind_worker.models.files.quantization import Quantization
from explaind_worker.models.structure.classifier_head import Classes
from explaind_worker.models.text.chat import Region, Span, constant, rendered
from explaind_worker.models.text.template_clock import TemplateClock

NO_ROW = (
    "The tokenizer was given tokens that the model was not resized for. Leave the token out, or use files that belong "
    "together."
)


@dataclass(frozen=True)
class EncodedPrompt:
    """A tokenized prompt.

    `spans[i]` are the characters of `text` that token i covers, None for special tokens that the tokenizer added.
    Several tokens may cover the same characters (the bytes of an emoji). `constant`: the same request always gives the
    same prompt; a chat template may contain the date.
    """

    text: str
    token_ids: tuple[int, ...]
    spans: tuple[Span | None, ...]
    special: tuple[bool, ...]
    regions: tuple[Region, ...]
    constant: bool = True

    def __len__(self) -> int:
        return len(self.token_ids)

    def is_template(self, token: int) -> bool:
        """Whether the token lies entirely in text from the chat template."""
        span = self.spans[token]
        if not any(region.message is not None for region in self.regions):
            return False
        return span is None or not any(r.start < span[1] and span[0] < r.end for r in self.regions)


class Encoder:
    """A model's tokenizer, as explanations use it.

    `context` is how many tokens the model can read, `revision` the fingerprint of the files it was read from, `classes`
    what a classifier tells apart (None of a causal language model), `rows` how many rows the model's embedding has: a
    tokenizer may know more tokens, added ones mostly, which must never reach the model. `quantization` is that of the
    weights, which config and catalogue tell before they are read. `segments` says whether the model tells the two
    sentences of a pair apart by segment ids (`token_type_ids`). A classifier reads a text that
    is complete: its closing tokens stay, and a chat template opens no turn.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        context: int,
        revision: str | None = None,
        classes: Classes | None = None,
        rows: int | None = None,
        *,
        quantization: Quantization | None = None,
        segments: bool = False,
    ) -> None:
        self.tokenizer = tokenizer
        self.rows = rows
        self.context = context
        self.revision = revision
        self.classes = classes
        self.quantization = quantization
        self.segments = segments

    @property
    def packed(self) -> bool:
        """Whether the model computes with packed weights rather than ordinary matrices."""
        return self.quantization is not None and self.quantization.packed is not None

    @property
    def vocabulary(self) -> int:
        """Upper bound of the token ids that the model can read (exclusive)."""
        return len(self.tokenizer) if self.rows is None else min(len(self.tokenizer), self.rows)

    def reads(self, token_id: object) -> TypeGuard[int]:
        """Whether the model can read that token; a special token that a tokenizer lacks is None."""
        return isinstance(token_id, int) and token_id < self.vocabulary

    def prompt(self, request: PromptRequest, clock: TemplateClock | None = None) -> EncodedPrompt:
        """The request's prompt or messages, encoded; the chat template is applied once, with the job's `clock`.

        Raises:
            NoChatTemplate, ChatTemplateRefuses: messages were given and the model has no template, or its template
                refuses them.
            InvalidRequest: the text has no tokens, or one without a row in the model's embedding; or the
                template changes a message.
        """
        if request.messages is not None:
            text, regions = rendered(self.tokenizer, request.messages, continued=self.classes is None, clock=clock)
            encoded = self._encode(text, regions, add_special_tokens=False)
            encoded = replace(encoded, constant=constant(self.tokenizer))
        else:
            text = request.prompt or ""
            encoded = self._encode(text, (Region(0, len(text)),), add_special_tokens=True)
        if (unknown := self._without_row(encoded.token_ids)) is not None:
            raise InvalidRequest.at("/prompt" if request.messages is None else "/messages", unknown, hint=NO_ROW)
        return encoded

    def continuation(
        self, encoded: EncodedPrompt, target: TextTarget | TokenIdsTarget | str, *, pointer: str = "/target"
    ) -> tuple[int, ...]:
        """Token ids of a continuation of that prompt; `pointer` is the field to name in an error.

        A text is tokenized together with the prompt, as in running text; if that changes the prompt's own tokens (it
        ends within a word), it is tokenized separately.

        Raises:
            InvalidTarget: an id outside the vocabulary, or a text without tokens.
        """
        if isinstance(target, TokenIdsTarget):
            size = self.vocabulary
            for index, token_id in enumerate(target.token_ids):
                if token_id >= size:
                    message = f"Token id {token_id} is outside the vocabulary of {size} tokens."
                    raise InvalidTarget.at(f"{pointer}/token_ids/{index}", message)
            return tuple(target.token_ids)
        text = target if isinstance(target, str) else target.text
        ids = self._joined(encoded, text) or self._alone(text)
        if not ids:
            raise InvalidTarget.at(pointer, f"{text!r} has no tokens in this model's vocabulary.")
        if (unknown := self._without_row(ids)) is not None:
            raise InvalidTarget.at(pointer, unknown, hint=NO_ROW)
        return ids

    def piece(self, text: str, *, begins: bool) -> tuple[int, ...]:
        """Tokens of a text that stands in the middle of another, or that `begins` one; special tokens are not added."""
        return tuple(self._tokenize(text, add_special_tokens=False)["input_ids"]) if begins else self._alone(text)

    def joins(self, encoded: EncodedPrompt, text: str) -> bool:
        """Whether the text, written after that prompt, leaves the prompt's own tokens as they are."""
        return bool(self._joined(encoded, text))

    def text_of(self, token_ids: Sequence[int], *, after: Sequence[int] = ()) -> str:
        """Text of a continuation, with the leading space that it has after the tokens `after`."""
        context = list(after[-8:])
        return self._decode([*context, *token_ids])[len(self._decode(context)) :]

    def each_text_of(self, token_ids: Sequence[int], *, after: Sequence[int] = ()) -> list[str]:
        """Text of each token as the only continuation: `text_of([token], after=after)` for many at once."""
        context = list(after[-8:])
        begin = len(self._decode(context))
        return [text[begin:] for text in self._decode_each([[*context, token] for token in token_ids])]

    def texts_of(self, token_ids: Sequence[int], *, after: Sequence[int] = ()) -> list[str]:
        """Text of each token of a continuation; a character split over tokens appears with its last one."""
        texts, shown = [], ""
        for end in range(1, len(token_ids) + 1):
            text = self.text_of(token_ids[:end], after=after)
            whole = text if end == len(token_ids) else text.rstrip("\ufffd")
            texts.append(whole[len(shown) :])
            shown = whole if len(whole) > len(shown) else shown
        return texts

    def _decode(self, token_ids: list[int]) -> str:
        return str(self.tokenizer.decode(token_ids))

    def _decode_each(self, rows: list[list[int]]) -> list[str]:
        tokenizer = self.tokenizer
        # If transformers adds nothing to it, the tokenizer's own batch decoding is several times faster.
        if type(tokenizer)._decode is PreTrainedTokenizerFast._decode and not tokenizer.clean_up_tokenization_spaces:
            return tokenizer.backend_tokenizer.decode_batch(rows, skip_special_tokens=False)
        return [str(text) for text in tokenizer.decode(rows)]

    def _encode(self, text: str, regions: tuple[Region, ...], *, add_special_tokens: bool) -> EncodedPrompt:
        encoding = self._tokenize(text, add_special_tokens=add_special_tokens)
        ids, offsets = list(encoding["input_ids"]), list(encoding["offset_mapping"])
        added = list(encoding["special_tokens_mask"])
        specials = set(self.tokenizer.all_special_ids)
        if add_special_tokens and self.classes is None:
            while ids and added[-1] and offsets[-1][0] == offsets[-1][1]:
                # Some tokenizers append an end token, but a prompt is to be continued.
                for column in (ids, offsets, added):
                    column.pop()
        spans = [
            None if start == end and mark else (start, end) for (start, end), mark in zip(offsets, added, strict=True)
        ]
        if not any(span is not None for span in spans):
            raise InvalidRequest.at("/prompt", "The prompt has no tokens in this model's vocabulary.")
        return EncodedPrompt(
            text=text,
            token_ids=tuple(ids),
            spans=tuple(spans),
            special=tuple(token_id in specials for token_id in ids),
            regions=regions,
        )

    def _without_row(self, ids: Sequence[int]) -> str | None:
        """What is wrong with the first id without an embedding; None if there is none."""
        first = next((token for token in ids if token >= self.vocabulary), None)
        if first is None:
            return None
        name = self.tokenizer.convert_ids_to_tokens(first)
        return f"The token {name!r} has the id {first}, and the model's embedding has {self.rows} rows."

    def _tokenize(self, text: str, *, add_special_tokens: bool) -> BatchEncoding:
        return self.tokenizer(
            text,
            add_special_tokens=add_special_tokens,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            return_attention_mask=False,
            verbose=False,
        )

    def _joined(self, encoded: EncodedPrompt, text: str) -> tuple[int, ...]:
        whole = self._encode(
            encoded.text + text, (), add_special_tokens=any(span is None for span in encoded.spans)
        ).token_ids
        prompt = encoded.token_ids
        return whole[len(prompt) :] if whole[: len(prompt)] == prompt else ()

    def _alone(self, text: str) -> tuple[int, ...]:
        # After a line break, so that tokenizers that prepend a space to every text do not do so here.
        encoding = self._tokenize("\n" + text, add_special_tokens=False)
        pairs = list(zip(encoding["input_ids"], encoding["offset_mapping"], strict=True))
        if any(start < 1 < end for _, (start, end) in pairs):
            return tuple(self._tokenize(text, add_special_tokens=False)["input_ids"])
        return tuple(token_id for token_id, (start, _) in pairs if start >= 1)
