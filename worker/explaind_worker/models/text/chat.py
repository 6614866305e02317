"""Chat templates: messages rendered to text, and the positions of their contents."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerFast

from explaind.contract.blocks.subject import Message
from explaind.contract.errors import ChatTemplateRefuses, InvalidRequest, NoChatTemplate
from explaind_worker.models.text.template_clock import TemplateClock, varies

Span = tuple[int, int]


@dataclass(frozen=True)
class Region:
    """A span of the prompt that may be divided into units: a whole text, or the content of one message."""

    start: int
    end: int
    role: str | None = None
    message: int | None = None


# Placeholder for a message's content. Letters and digits only, which no template strips or escapes.
_PLACEHOLDER = "explaindContent{}End"
_PLACEHOLDERS = re.compile(r"explaindContent(\d+)End")


def rendered(
    tokenizer: PreTrainedTokenizerFast,
    messages: Sequence[Message],
    *,
    continued: bool = True,
    clock: TemplateClock | None = None,
) -> tuple[str, tuple[Region, ...]]:
    """The chat rendered by the template, and a region for each occurrence of a message's content.

    The assistant's turn is opened, or left open if the last message is the assistant's; neither for a model that does
    not generate. Contents are located by rendering the same chat with placeholders, since a content such as "user" also
    occurs in the template's own text. `clock` is the job's, for templates that contain the date.

    Raises:
        NoChatTemplate: the model has no template.
        ChatTemplateRefuses: its template refuses these messages.
        InvalidRequest: the template changes a content beyond surrounding whitespace, or omits it.
    """
    if not tokenizer.chat_template:
        raise NoChatTemplate.at(
            "/messages", "This model has no chat template.", hint="Send the text as 'prompt' instead."
        )
    roles = [message.role for message in messages]
    try:
        template, clock = str(tokenizer.get_chat_template()), clock or TemplateClock()
        with clock.told(template):
            text = _applied(tokenizer, roles, [message.content for message in messages], continued)
        with clock.told(template):
            frame = _applied(tokenizer, roles, [_PLACEHOLDER.format(index) for index in range(len(roles))], continued)
    except (TemplateError, ValueError) as error:
        raise ChatTemplateRefuses.at(
            "/messages",
            f"The model's chat template refuses these messages: {error}",
            hint="Most templates take turns of user and assistant, and some no system message.",
        ) from error
    return text, tuple(_regions(messages, text, frame))


def constant(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Whether the model's chat template always renders the same messages to the same text."""
    return not varies(str(tokenizer.get_chat_template()))


def _applied(tokenizer: PreTrainedTokenizerFast, roles: Sequence[str], contents: Sequence[str], continued: bool) -> str:
    answering = roles[-1] != "assistant"
    text = tokenizer.apply_chat_template(
        [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)],
        tokenize=False,
        add_generation_prompt=continued and answering,
        continue_final_message=continued and not answering,
    )
    return str(text)


def _regions(messages: Sequence[Message], text: str, frame: str) -> Iterator[Region]:
    """The regions of `text`, which is `frame` with its placeholders replaced by contents, in order."""
    places = list(_PLACEHOLDERS.finditer(frame))
    found = {int(place[1]) for place in places}
    for index in range(len(messages)):
        if index not in found:
            raise _changed(index)
    cursor = places[0].start()
    if text[:cursor] != frame[:cursor]:
        raise _changed(int(places[0][1]))
    ends = [(place.end(), following.start()) for place, following in pairwise(places)]
    for place, (start, end) in zip(places, [*ends, (places[-1].end(), len(frame))], strict=True):
        index, after = int(place[1]), frame[start:end]
        content = _as_written(messages[index].content, after, text, cursor, last=end == len(frame))
        if content is None:
            raise _changed(index)
        yield Region(cursor, cursor + len(content), messages[index].role, index)
        cursor += len(content) + len(after)


def _as_written(content: str, after: str, text: str, cursor: int, *, last: bool) -> str | None:
    """The content as it occurs at the cursor before `after`, with or without surrounding whitespace."""
    for written in (content, content.strip(), content.rstrip(), content.lstrip()):
        whole = written + after
        if text[cursor:] == whole if last else text.startswith(whole, cursor):
            return written
    return None


def _changed(index: int) -> InvalidRequest:
    return InvalidRequest.at(
        f"/messages/{index}/content",
        "The model's chat template changes this text or leaves it out, so it has no units.",
        hint="Write the prompt as the model should read it, and send it as 'prompt'.",
    )
