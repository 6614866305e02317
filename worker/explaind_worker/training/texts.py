"""Training texts of a request, as rows of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

from explaind.contract.blocks.subject import PromptRequest
from explaind.contract.errors import InvalidDataset, InvalidRequest
from explaind.contract.methods.train.tuned_lens import TextColumn
from explaind_worker.session.session import Session
from explaind_worker.training.token_batches import Row, held_out, pieces


@dataclass(frozen=True)
class TrainingTexts:
    """Training rows and held-out rows, their number of texts, and notes for the result."""

    train: list[Row]
    held: list[Row]
    train_texts: int
    held_texts: int
    notes: list[str]

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return max(map(len, [*self.train, *self.held]))


def training_texts(
    text: Sequence[str] | TextColumn, session: Session, *, max_length: int, share: float, seed: int
) -> TrainingTexts:
    """The distinct texts, tokenized like prompts, cut into rows and split into training and held-out ones.

    Raises:
        InvalidRequest: a text has no tokens, or there is too little text for a held-out part.
        UnknownDataset, InvalidDataset: the dataset does not exist, or has no such column.
    """
    given = _column(text, session) if isinstance(text, TextColumn) else list(text)
    texts = list(dict.fromkeys(given))
    longest = min(max_length, session.model_access.encoder.context)
    rows = [pieces(_encoded(one, given.index(one), text, session), longest) for one in texts]
    if sum(map(len, rows)) < 2:
        raise InvalidRequest.at(
            "/text", "There is one piece of text: none would be left to measure by.", hint="Give a second text."
        )
    train, held = held_out(rows, share, seed)
    notes = []
    if len(rows) == 1:
        notes.append("There was one text: its end was held out.")
    if len(texts) < len(given):
        notes.append(f"{len(given) - len(texts)} texts were equal to another and count once.")
    held_texts = min(max(1, round(share * len(rows))), len(rows) - 1) if len(rows) > 1 else 1
    return TrainingTexts(train, held, max(1, len(rows) - held_texts), held_texts, notes)


def _encoded(text: str, index: int, given: Sequence[str] | TextColumn, session: Session) -> Row:
    try:
        request = PromptRequest(model=session.model_access.entry.name, prompt=text)
        return session.model_access.prompt(request, f"/text/{index}").token_ids
    except InvalidRequest as error:
        pointer = "/text/column" if isinstance(given, TextColumn) else f"/text/{index}"
        raise InvalidRequest.at(
            pointer, f"A text has no tokens in the vocabulary of {session.model_access.entry.name}."
        ) from error


def _column(wanted: TextColumn, session: Session) -> list[str]:
    """The texts of a column; empty cells are skipped."""
    rows = session.job.files.rows(wanted.dataset, pointer="/text/dataset")[: wanted.limit]
    if wanted.column not in rows[0]:
        columns = ", ".join(map(repr, rows[0]))
        raise InvalidDataset.at("/text/column", f"The dataset has no column {wanted.column!r}: it has {columns}.")
    texts = [cell for row in rows if isinstance(cell := row[wanted.column], str) and cell]
    if not texts:
        raise InvalidDataset.at("/text/column", f"The column {wanted.column!r} holds no text.")
    return texts
