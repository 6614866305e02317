"""What a job has had read: its prompts, and the texts that are scored after them, for the notes of its result."""

from collections.abc import Iterable
from dataclasses import dataclass

from explaind_worker.models.text.tokenizer import EncodedPrompt


@dataclass(frozen=True)
class ReadPrompt:
    """A prompt, and the field of the request that it came from."""

    encoded: EncodedPrompt
    pointer: str


@dataclass(frozen=True)
class ScoredContinuation:
    """A text that is scored after a prompt, its tokens, and the field of the request that it came from."""

    encoded: EncodedPrompt
    text: str
    token_ids: tuple[int, ...]
    pointer: str


MOST = 256  # prompts, and continuations, that are kept of a job; a data set may have very many


class PromptRecord:
    """The first prompts of a job in the order in which they were read, and the continuations likewise, each once."""

    def __init__(self) -> None:
        self._prompts: dict[str, ReadPrompt] = {}
        self._continuations: dict[tuple[str, str], ScoredContinuation] = {}

    def prompt(self, encoded: EncodedPrompt, pointer: str) -> None:
        """A prompt was read."""
        if len(self._prompts) < MOST:
            self._prompts.setdefault(encoded.text, ReadPrompt(encoded, pointer))

    def continuation(self, encoded: EncodedPrompt, text: str, token_ids: tuple[int, ...], pointer: str) -> None:
        """A text is scored after the prompt."""
        if len(self._continuations) < MOST:
            made = ScoredContinuation(encoded, text, token_ids, pointer)
            self._continuations.setdefault((encoded.text, text), made)

    @property
    def prompts(self) -> Iterable[ReadPrompt]:
        """Every prompt once."""
        return self._prompts.values()

    @property
    def continuations(self) -> Iterable[ScoredContinuation]:
        """Every text once for each prompt that it follows."""
        return self._continuations.values()
