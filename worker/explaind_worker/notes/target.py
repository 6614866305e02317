"""Notes on texts that are scored: whether a space before them, more or less, makes them far likelier."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from explaind.contract.errors import OutOfMemory, RequestTooLarge
from explaind_worker.attribution.classifier_query import whole
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.scoring.replacement_text import UNSPACED
from explaind_worker.engine.scoring.value_function import ValueFunction
from explaind_worker.models.device_errors import out_of_memory, release_memory
from explaind_worker.models.text.tokenizer import EncodedPrompt
from explaind_worker.notes.prompt import ends_in_loose_space
from explaind_worker.notes.wording import listed, quoted, times
from explaind_worker.session.prompt_record import ScoredContinuation
from explaind_worker.session.session import Session

FAR_LIKELIER = math.log(1000)
MOST_PROMPTS, MOST_TEXTS = 4, 32  # that are looked at, of a job and of a prompt

ENDINGS = ".,:;!?)]}%"  # after which a word begins with a space

_ROLES = {"target": "target", "foil": "foil", "labels": "label", "track": "tracked token", "answer": "answer"}


@dataclass(frozen=True)
class _Pair:
    """A text as it was given, and as it is with or without the space before it."""

    given: ScoredContinuation
    text: str
    token_ids: tuple[int, ...]

    @property
    def spaced(self) -> bool:
        """Whether the given text begins with a space."""
        return self.given.text[0] == " "


def target_notes(session: Session) -> list[str]:
    """Notes on the texts that the job scored; one forward of a row for each prompt, counted but not made in a dry run.

    Nothing is said of what cannot be looked at beside the memory or the context there is.
    """
    access = session.model_access
    if not access.loaded or access.encoder.classes is not None:
        return []
    found: list[tuple[_Pair, float]] = []
    for encoded, pairs in islice(_by_prompt(session), MOST_PROMPTS):
        ratios = _ratios(encoded, pairs, session)
        loose = ends_in_loose_space(encoded, access.record, access.encoder)
        found += [
            (pair, ratio)
            for pair, ratio in zip(pairs, ratios, strict=True)
            if ratio >= FAR_LIKELIER and not (loose and not pair.spaced)  # the prompt's own space is to go
        ]
    return list(_notes(found))


def _by_prompt(session: Session) -> Iterator[tuple[EncodedPrompt, list[_Pair]]]:
    """For each prompt the texts that can be compared with their counterparts."""
    record = session.model_access.record
    texts: dict[str, list[ScoredContinuation]] = {}
    for asked in record.continuations:
        texts.setdefault(asked.encoded.text, []).append(asked)
    for of_prompt in texts.values():
        encoded = of_prompt[0].encoded
        pairs = [pair for asked in of_prompt[:MOST_TEXTS] if (pair := _pair(asked, session)) is not None]
        if pairs:
            yield encoded, pairs


def _pair(given: ScoredContinuation, session: Session) -> _Pair | None:
    """The text beside its counterpart; None where there is none, or where the tokenizer reads both alike."""
    encoder, text = session.model_access.encoder, given.text
    if _ordinary(given.encoded, text):
        return None
    other = text[1:] if text[0] == " " else f" {text}"
    ids = encoder.continuation(given.encoded, other)
    longest = max(len(ids), len(given.token_ids))
    if ids == given.token_ids or len(given.encoded) + longest - 1 > encoder.context:
        return None
    return _Pair(given, other, ids)


def _ordinary(prompt: EncodedPrompt, text: str) -> bool:
    """Whether the text follows the prompt as texts do, so that it need not be looked at.

    That is a word after a word or its punctuation with a space between, punctuation without one, and anything but a
    space after a space; a text that begins with other space, or is nothing but space, has no counterpart.
    """
    last, first = prompt.text[-1:], text[0]
    if first.isspace():
        apart = first == " " and text[1:2].strip() != ""
        return not apart or (not prompt.special[-1] and (last.isalnum() or last in ENDINGS) and text[1].isalnum())
    return last.isspace() or not first.isalnum() or bool(UNSPACED.match(first))


def _ratios(encoded: EncodedPrompt, pairs: Sequence[_Pair], session: Session) -> list[float]:
    """For each pair how many nats likelier the counterpart is; −infinity where that cannot be told."""
    continuations = [ids for pair in pairs for ids in (pair.given.token_ids, pair.token_ids)]
    unknown = [-math.inf] * len(pairs)
    try:
        scores = _scores(encoded, continuations, session)
    except (RequestTooLarge, OutOfMemory):
        return unknown
    except Exception as error:  # the result is there, and worth more than its notes
        if not out_of_memory(error):
            raise
        scores = None
    if scores is None:
        release_memory()
        return unknown
    sums = np.array([part.sum() for part in np.split(scores, np.cumsum([len(ids) for ids in continuations])[:-1])])
    ratios = sums[1::2] - sums[::2]
    return [float(ratio) if np.isfinite(ratio) else -math.inf for ratio in ratios]


def _scores(encoded: EncodedPrompt, continuations: Sequence[tuple[int, ...]], session: Session) -> np.ndarray:
    """Log-probabilities of the tokens of all continuations, side by side."""
    players, access = whole(encoded), session.model_access
    reads = max(map(len, continuations))
    if session.job.dry_run:
        limits = BatchLimits.for_device(access.model().device)  # what does not fit is left out, and costs nothing
    else:
        limits = access.batch_limits(players.longest + reads, reads=reads)
    value = ValueFunction(
        access.model(),
        players,
        continuations,
        meter=session.job.meter,
        report_progress=lambda *_: None,  # a row after the last; the job's own phases have said that they are done
        limits=limits,
    )
    return value(np.ones((1, 0), dtype=bool)).logprobs[0]


def _notes(found: Sequence[tuple[_Pair, float]]) -> Iterator[str]:
    """One sentence for all labels alike, or all answers, one for each other text."""
    kinds: dict[tuple[str, bool], list[tuple[_Pair, float]]] = {}
    for pair, ratio in found:
        kinds.setdefault((_role(pair.given.pointer), pair.spaced), []).append((pair, ratio))
    for (role, spaced), entries in kinds.items():
        many = len(entries) > 1
        after = "this prompt" if len({pair.given.encoded.text for pair, _ in entries}) == 1 else "their prompts"
        given = listed([quoted(pair.given.text) for pair, _ in entries])
        others = listed([quoted(pair.text) for pair, _ in entries])
        ratios = listed([times(ratio) for _, ratio in entries])
        has = "have" if many else "has"
        yield (
            f"The {role}{'s' if many else ''} {given} {has} {'a' if spaced else 'no'} leading space; {others} "
            f"{'are' if many else 'is'} {ratios} times likelier after {after}."
        )


def _role(pointer: str) -> str:
    """What a text at that field of a request is: the target, a label …"""
    return next((_ROLES[part] for part in reversed(pointer.split("/")) if part in _ROLES), "answer")
