"""Questions of made-up words with exact token counts, and their answers."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.shapes import SPECIAL, written
from explaind_worker.models.demo.cases import generate_cases

SHORTEST, STEP, SPREAD = 18, 5, 11  # lengths 18, 23, 28, 22, 27, 21, 26, 20, typical of short arithmetic problems


@dataclass(frozen=True)
class DrawnQuestions:
    """Prompts and answers as token ids, of distinct lengths if there are few."""

    prompts: tuple[tuple[int, ...], ...]
    answers: tuple[tuple[int, ...], ...]

    @classmethod
    def drawn(cls, vocabulary: int, count: int, *, answer: int = 2, shortest: int = SHORTEST) -> "DrawnQuestions":
        """Drawn with a fixed seed."""
        generator = np.random.default_rng(0)
        prompts, answers = [], []
        for index in range(count):
            length = shortest + index * STEP % SPREAD
            ids = generator.integers(len(SPECIAL), vocabulary, size=length + answer).tolist()
            prompts.append(tuple(ids[:length]))
            answers.append(tuple(ids[length:]))
        return cls(tuple(prompts), tuple(answers))

    @classmethod
    def of_demo(cls, tokenizer: Any, count: int) -> "DrawnQuestions":
        """Sums outside the built-in model's training data, nearly all answered correctly."""
        cases = generate_cases("two_digit_addition", count, 0, "heldout")
        return cls(
            tuple(tuple(tokenizer(case.prompt).input_ids) for case in cases),
            tuple(tuple(tokenizer(case.answer, add_special_tokens=False).input_ids) for case in cases),
        )

    def fields(self) -> dict[str, Any]:
        """The request's questions."""
        asked = [
            {"question": written(prompt), "answer": " " + written(answer)}
            for prompt, answer in zip(self.prompts, self.answers, strict=True)
        ]
        return {"questions": {"questions": asked}}
