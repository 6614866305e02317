"""Encodes prompts, and checks prompts, targets and masked rows against the model's limits, without weights."""

from explaind.contract.blocks.subject import PromptRequest
from explaind.contract.errors import PromptTooLong, TargetTooLong
from explaind_worker.models.text.tokenizer import EncodedPrompt
from explaind_worker.session.model_access import ModelAccess
from explaind_worker.session.session import Session


def encode_prompt(session: Session, request: PromptRequest) -> EncodedPrompt:
    """The job's prompt, encoded and recorded for its provenance.

    Raises:
        PromptTooLong: it has more tokens than the catalogue or the context allows.
    """
    pointer = "/prompt" if request.prompt is not None else "/messages"
    session.job.encoded = encode_part(session.model_access, request, pointer)
    return session.job.encoded


def encode_part(access: ModelAccess, request: PromptRequest, pointer: str) -> EncodedPrompt:
    """One of several prompts, from the field at `pointer`, encoded and checked like the job's own.

    Raises:
        PromptTooLong: it has more tokens than the catalogue or the context allows.
    """
    encoded = access.prompt(request, pointer)
    allowed = min(access.entry.limits.max_prompt_tokens, access.encoder.context)
    if len(encoded) > allowed:
        raise PromptTooLong.at(
            pointer,
            f"The prompt has {len(encoded)} tokens; {access.entry.name} takes at most {allowed}.",
            hint="Shorten the prompt, or choose a model with a longer context.",
        )
    access.prompt_pointer = pointer
    return encoded


def check_fits(access: ModelAccess, encoded: EncodedPrompt, new_tokens: int, pointer: str) -> None:
    """Refuses a continuation that is too long; its last token is predicted, not fed.

    Raises:
        TargetTooLong: it has more tokens than the catalogue allows, or prompt and target exceed the context.
    """
    allowed = access.entry.limits.max_target_tokens
    if new_tokens > allowed:
        message = f"The target has {new_tokens} tokens; {access.entry.name} takes at most {allowed}."
        raise TargetTooLong.at(pointer, message, hint="Shorten the target.")
    if len(encoded) + new_tokens - 1 > access.encoder.context:
        message = (
            f"Prompt ({len(encoded)} tokens) and target ({new_tokens}, all but the last of which are read) are longer "
            f"than the context of {access.entry.name}, {access.encoder.context} tokens."
        )
        raise TargetTooLong.at(pointer, message, hint="Shorten the prompt or the target.")


def check_rows_fit(access: ModelAccess, tokens: int, fed: int = 0) -> None:
    """Refuses baselines that make rows longer than the context.

    A row has up to `tokens` tokens, followed by `fed` tokens of the target.

    Raises:
        PromptTooLong: they do.
    """
    if tokens + fed > access.encoder.context:
        target = f" with {fed} of the target" if fed else ""
        raise PromptTooLong.at(
            "/baseline",
            f"With this text in place of absent units a row has up to {tokens + fed} tokens{target}; the context of "
            f"{access.entry.name} has {access.encoder.context}.",
            hint='Give a shorter text, choose "mask" or "remove", or larger units.',
        )
