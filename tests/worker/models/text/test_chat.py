"""Contents of messages inside the text that chat templates of several kinds make of them."""

import pytest

from explaind.contract.blocks.subject import Message, PromptRequest
from explaind.contract.errors import ChatTemplateRefuses, InvalidRequest
from explaind_worker.engine.scoring.units import units_of
from explaind_worker.models.text.chat import rendered
from explaind_worker.models.text.tokenizer import Encoder

SIMPLE = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ '<|begin_of_text|>' }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' "
    "+ m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}"
    "{{ (first if loop.first else '') + m['content'] | trim }}{{ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
STRIPPING = "{% for m in messages %}[{{ m.role }}]{{ m.content.strip() }}\n{% endfor %}"
REFUSING = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}{% endfor %}"
)
# Mistral's: the system message stands in the last user's turn.
LATE_SYSTEM = (
    "{% set system = messages[0].content %}{% for m in messages[1:] %}{% if m.role == 'user' %}[INST]"
    "{% if loop.last %}{{ system }}\n\n{% endif %}{{ m.content }}[/INST]{% else %}{{ m.content }}</s>{% endif %}"
    "{% endfor %}"
)
TEMPLATES = {
    "simple": SIMPLE, "chatml": CHATML, "llama3": LLAMA3, "gemma": GEMMA, "stripping": STRIPPING, "late": LATE_SYSTEM,
}  # fmt: skip
CHAT = [
    ("system", "user"),
    ("user", "start"),
    ("user", "id"),
    ("assistant", "model"),
    ("user", "user"),
]


@pytest.fixture
def templated(tokenizer):
    """`templated(template)`: the tokenizer with that template; its own again afterwards."""
    before = tokenizer.chat_template

    def make(template):
        tokenizer.chat_template = template
        return tokenizer

    yield make
    tokenizer.chat_template = before


def messages_of(pairs):
    return [Message(role=role, content=content) for role, content in pairs]


@pytest.mark.parametrize("name", TEMPLATES)
def test_contents_are_found_where_the_template_put_them(templated, name):
    """Contents that also stand in the template's own words: roles and pieces of its markers."""
    tokenizer, messages = templated(TEMPLATES[name]), messages_of(CHAT)
    text, regions = rendered(tokenizer, messages)
    assert sorted(region.message for region in regions) == list(range(len(CHAT)))
    assert [region.start for region in regions] == sorted(region.start for region in regions)
    for region in regions:
        assert (region.role, text[region.start : region.end]) == CHAT[region.message]
    # Other contents of the same lengths change the text in the regions and nowhere else.
    other, _ = rendered(tokenizer, messages_of([(role, "Z" * len(content)) for role, content in CHAT]))
    changed = list(text)
    for region in regions:
        changed[region.start : region.end] = "Z" * (region.end - region.start)
    assert "".join(changed) == other


@pytest.mark.parametrize("name", TEMPLATES)
def test_space_around_a_content_may_be_stripped(templated, name):
    pairs = [("system", "Be kind."), ("user", "  a b\n"), ("assistant", "\nc "), ("user", "d\n\n")]
    text, regions = rendered(templated(TEMPLATES[name]), messages_of(pairs))
    for region in regions:
        content = pairs[region.message][1]
        assert text[region.start : region.end].strip() == content.strip()


def test_an_open_assistant_turn_is_continued(templated):
    text, regions = rendered(templated(LLAMA3), messages_of([("user", "hi"), ("assistant", "I think ")]))
    assert text.endswith("\n\nI think")
    assert text[regions[1].start : regions[1].end] == "I think"


def test_a_template_that_refuses_a_role_says_why(templated):
    with pytest.raises(ChatTemplateRefuses, match="System role not supported") as caught:
        rendered(templated(REFUSING), messages_of([("system", "a"), ("user", "b")]))
    assert caught.value.title == "The model's chat template refuses the messages"
    text, _ = rendered(templated(REFUSING), messages_of([("user", "b")]))
    assert text == "<user>b"


@pytest.mark.parametrize(
    ("template", "index"),
    [
        ("{{ messages[-1].content }}", 0),
        ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", 0),
        ("{% for m in messages %}{{ m.content | replace('b', 'c') }};{% endfor %}", 1),
        ("{{ messages[1].content | length }}{% for m in messages %};{{ m.content }}{% endfor %}", 0),
    ],
)
def test_a_message_that_is_changed_or_left_out_is_named(templated, template, index):
    with pytest.raises(InvalidRequest, match="changes this text or leaves it out") as caught:
        rendered(templated(template), messages_of([("user", "a"), ("user", "b")]))
    assert caught.value.errors[0].pointer == f"/messages/{index}/content"


def test_a_content_that_is_written_twice_has_two_regions(templated):
    twice = templated("{% for m in messages * 2 %}{{ m.content }};{% endfor %}")
    text, regions = rendered(twice, messages_of([("user", "a")]))
    assert text == "a;a;"
    assert [(region.start, region.message) for region in regions] == [(0, 0), (2, 0)]


@pytest.mark.parametrize("kind", ["token", "word", "sentence"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_units_of_adjacent_messages_of_one_role_stay_apart(templated, name, kind):
    pairs = [("system", "Be kind."), ("user", "The food was"), ("user", "great but small."), ("user", "Really!")]
    encoded = Encoder(templated(TEMPLATES[name]), 1000).prompt(PromptRequest(model="m", messages=messages_of(pairs)))
    unit_map = units_of(encoded, kind)
    for index, (role, content) in enumerate(pairs):
        own = [unit for unit in unit_map.units if unit.message == index]
        assert {unit.role for unit in own} == {role}
        assert "".join(unit.text for unit in own).replace(" ", "") == content.replace(" ", "")
    assert all(unit.message is not None for unit in unit_map.units)


@pytest.mark.parametrize("name", TEMPLATES)
def test_template_tokens_are_in_no_unit_and_flagged(templated, name):
    pairs = [("system", "Be kind."), ("user", "The food was great.")]
    encoded = Encoder(templated(TEMPLATES[name]), 1000).prompt(PromptRequest(model="m", messages=messages_of(pairs)))
    unit_map = units_of(encoded, "token")
    template = [encoded.is_template(token) for token in range(len(encoded))]
    assert template == [unit is None for unit in unit_map.unit_of_token]
    assert any(template)
    assert not all(template)


def test_a_prompt_has_no_template_tokens(tokenizer):
    encoded = Encoder(tokenizer, 100).prompt(PromptRequest(model="m", prompt="The food"))
    assert not any(encoded.is_template(token) for token in range(len(encoded)))
