"""Notes on how a prompt was read: a second start token, special tokens, sentence pairs, a space at its end."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from explaind_worker.models.text.chat import Region
from explaind_worker.models.text.tokenizer import EncodedPrompt, Encoder
from explaind_worker.notes.wording import listed, quoted
from explaind_worker.session.prompt_record import PromptRecord, ReadPrompt

PROBES = ("a", "the", "The")  # beginnings of what may follow a prompt whose continuation is not given
# How special tokens are written in one model or another; <s> and the like are told from HTML by nothing else.
SPELLINGS = re.compile(
    r"<\|[A-Za-z0-9_.▁-]{1,40}\|>|<｜[^｜<>\n]{1,40}｜>|</?s>|<(?:pad|unk|mask|bos|eos|sep|cls)>"
    r"|<(?:start_of_turn|end_of_turn)>|\[(?:PAD|UNK|MASK|BOS|EOS|SEP|CLS|/?INST)\]|</?SYS>|<<SYS>>|<</SYS>>"
)


@dataclass(frozen=True)
class _Finding:
    """Something that is to be noted: what kind of thing it is, for which part of the request, in words."""

    kind: str
    subject: str
    words: str


def prompt_notes(record: PromptRecord, encoder: Encoder) -> list[str]:
    """The notes on the prompts of a job, those of one kind together: the first in words, the others as a number."""
    found: dict[tuple[str, str], list[str]] = {}
    for prompt in record.prompts:
        for finding in _findings(prompt, record, encoder):
            found.setdefault((finding.kind, finding.subject), []).append(f"{finding.subject} {finding.words}")
    return [notes[0] + _of_others(len(notes) - 1) for notes in found.values()]


def ends_in_loose_space(prompt: EncodedPrompt, record: PromptRecord, encoder: Encoder) -> bool:
    """Whether the prompt ends in a space that the tokenizer would have made part of the word that follows.

    It is looked at with what is scored after it, where that is given.
    """
    typed = any(region.end == len(prompt.text) > region.start for region in prompt.regions)
    if encoder.classes is not None or not typed or not prompt.text[-1:].isspace():
        return False
    given = [asked.text.lstrip() for asked in record.continuations if asked.encoded.text == prompt.text]
    return any(not encoder.joins(prompt, text) for text in (given or PROBES) if text)


def _findings(prompt: ReadPrompt, record: PromptRecord, encoder: Encoder) -> Iterator[_Finding]:
    encoded, name = prompt.encoded, subject_of(prompt.pointer)
    start = _start_token(encoded, encoder)
    if start is not None:
        yield _Finding("start", name, _second_start(start, chat=_is_chat(encoded)))
    for region in encoded.regions:
        subject = name if region.message is None else f"Message {region.message + 1} ({region.role})"
        yield from _special_tokens(encoded, region, subject, encoder, start)
    continued = not prompt.pointer.startswith("/text")  # a text that is trained on ends where it ends
    if continued and ends_in_loose_space(encoded, record, encoder):
        yield _Finding(
            "space",
            name,
            f"ends in a space ({quoted(encoded.text[-12:])}). This model's tokenizer makes the space a part of the "
            "word that follows, so that after a space by itself the model meets an unusual text, and its answers "
            "differ. Leave the space out, and begin the target with it.",
        )


def _start_token(encoded: EncodedPrompt, encoder: Encoder) -> str | None:
    """The start token, where the model reads it twice at the beginning."""
    tokenizer = encoder.tokenizer
    for start in (tokenizer.bos_token_id, tokenizer.cls_token_id):
        if isinstance(start, int) and encoded.token_ids[:2] == (start, start):
            return str(tokenizer.convert_ids_to_tokens(start))
    return None


def _second_start(start: str, *, chat: bool) -> str:
    if chat:
        return f"begins with {quoted(start)} twice: the chat template writes it by itself. Leave it out of the message."
    return (
        f"begins with {quoted(start)}, which the tokenizer puts before every prompt by itself: the model reads it "
        "twice. Leave it out; if the prompt is a chat that a template has written already, send it as `messages`."
    )


def _special_tokens(
    encoded: EncodedPrompt, region: Region, subject: str, encoder: Encoder, start: str | None
) -> Iterator[_Finding]:
    """Special tokens in what the user wrote, those that are read as such and those that are plain text."""
    read = list(_read_as_special(encoded, region, encoder))
    names = list(dict.fromkeys(name for name, begin, _ in read if name != start or begin > region.start))
    template = str(encoder.tokenizer.chat_template or "")
    if names:
        one = len(names) == 1
        words = f"holds {listed(list(map(quoted, names)))}, read as {'a special token' if one else 'special tokens'}, "
        words += "not as plain text."
        if region.message is None and any(name in template for name in names):
            words += (
                " The model's chat template writes such tokens: a prompt that looks rendered already is read as it "
                "stands; send `messages` to have it rendered."
            )
        yield _Finding("special", subject, words)
    inside = [(begin, end) for _, begin, end in read]
    plain = [
        match[0]
        for match in SPELLINGS.finditer(encoded.text, region.start, region.end)
        if not any(begin < match.end() and match.start() < end for begin, end in inside) and match[0] not in template
    ]
    if plain := list(dict.fromkeys(plain)):
        are = "is no special token" if len(plain) == 1 else "are no special tokens"
        words = f"holds {listed(list(map(quoted, plain)))}, which {are} of this model: read as plain text."
        yield _Finding("plain", subject, words)
    pair = str(encoder.tokenizer.sep_token or "")
    after = max((end for name, _, end in read if name == pair), default=None)
    if encoder.segments and after is not None and encoded.text[after : region.end].strip():
        yield _Finding(
            "segments",
            subject,
            f"holds two sentences with {quoted(pair)} between them. This model tells the sentences of a pair apart by "
            "segment ids, which a separator that is typed does not set: every token has segment 0, so the answer may "
            "differ from the model's answer to the pair.",
        )


def _read_as_special(encoded: EncodedPrompt, region: Region, encoder: Encoder) -> Iterator[tuple[str, int, int]]:
    """Name, begin and end of each special token that stands in the region by its name, in order."""
    added = encoder.tokenizer.added_tokens_decoder
    for token_id, span, special in zip(encoded.token_ids, encoded.spans, encoded.special, strict=True):
        if span is None or not (region.start <= span[0] and span[1] <= region.end):
            continue
        known = added.get(token_id)
        # A word that the tokenizer does not know is read as a special token too, and nobody wrote that.
        if (special or (known is not None and known.special)) and span[0] < span[1]:
            name = str(encoder.tokenizer.convert_ids_to_tokens(token_id))
            if name.strip() == encoded.text[slice(*span)].strip():
                yield name, *span


def _is_chat(encoded: EncodedPrompt) -> bool:
    return any(region.message is not None for region in encoded.regions)


def subject_of(pointer: str) -> str:
    """The part of a request at a pointer, as a note calls it."""
    field = pointer.strip("/").partition("/")[0]
    return {
        "corrupted": "The corrupted prompt",
        "questions": "A question's prompt",
        "text": "A text",
        "corrupted_messages": "The corrupted chat",
    }.get(field, "The prompt")


def _of_others(count: int) -> str:
    return "" if count == 0 else f" So it is with {count:,} other{'s' if count > 1 else ''}."
