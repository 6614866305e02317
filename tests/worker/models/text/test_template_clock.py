"""Chat templates that tell the date, or draw: which ones do, and that a job sees one moment."""

from datetime import datetime

import pytest
from transformers.utils import chat_template_utils

from explaind.contract.blocks.subject import Message, PromptRequest
from explaind_worker.models.text.template_clock import TemplateClock, varies
from explaind_worker.models.text.tokenizer import Encoder

TURNS = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
DATED = "{{ 'Today is ' + strftime_now('%d %B %Y') + '.\n' }}" + TURNS
LLAMA32 = (
    "{% if not date_string is defined %}{% if strftime_now is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}{% else %}{% set date_string = '26 Jul 2024' %}{% endif %}"
    "{% endif %}{{ 'Today Date: ' + date_string + '\n' }}" + TURNS
)
VARYING = {
    "dated": DATED,
    "dated by default": LLAMA32,
    "in a macro": "{% macro head() %}{{ strftime_now('%Y') }}{% endmacro %}{{ head() }}" + TURNS,
    "by another name": "{% set when = strftime_now %}{{ when('%Y') }}" + TURNS,
    "drawn": "{{ ['Hi', 'Hello'] | random }}" + TURNS,
    "drawn by name": "{{ [['Hi', 'Hello']] | map('random') | first }}" + TURNS,
    "filler": "{{ lipsum() }}" + TURNS,
    "broken": "{% if %}",
}
CONSTANT = {
    "plain": TURNS,
    "in a comment": "{# strftime_now('%Y') #}" + TURNS,
    "raw": "{% raw %}{{ strftime_now('%Y') }}{% endraw %}" + TURNS,
    "quoted": "{{ 'call strftime_now or random' }}" + TURNS,
    "its own": "{% set strftime_now = 'no function' %}{{ strftime_now }}" + TURNS,
    "a message's word": "{{ messages[0].random }}" + TURNS,
    "with transformers' tags": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}"
    "{% if loop.last %}{% break %}{% endif %}{% endfor %}",
    "with what is lent": "{% set ns = namespace(n=0) %}{% for i in range(2) %}{{ i }}{% endfor %}"
    "{% if not messages %}{{ raise_exception('no') }}{% endif %}{{ bos_token }}" + TURNS,
}


@pytest.fixture
def clock(monkeypatch):
    """`clock.now` is what transformers takes the time to be."""

    class Frozen(datetime):
        moment = datetime(2026, 11, 27, 23, 59, 59)

        @classmethod
        def now(cls, tz=None):
            return cls.moment

    monkeypatch.setattr(chat_template_utils, "datetime", Frozen)
    return Frozen


@pytest.fixture
def encoder(tokenizer):
    before = tokenizer.chat_template
    tokenizer.chat_template = DATED
    yield Encoder(tokenizer, 1000)
    tokenizer.chat_template = before


def asked(content="Hello"):
    return PromptRequest(model="m", messages=[Message(role="user", content=content)])


@pytest.mark.parametrize("name", VARYING)
def test_a_template_that_varies_is_found(name):
    assert varies(VARYING[name])


@pytest.mark.parametrize("name", CONSTANT)
def test_a_template_that_only_mentions_it_is_not(name):
    assert not varies(CONSTANT[name])


def test_prompts_say_whether_another_day_makes_another(encoder):
    assert not encoder.prompt(asked()).constant
    assert encoder.prompt(PromptRequest(model="m", prompt="Hello")).constant, "no template, no date"
    encoder.tokenizer.chat_template = TURNS
    assert encoder.prompt(asked()).constant


def test_a_job_over_midnight_sees_one_date(encoder, clock):
    job = TemplateClock()
    first = encoder.prompt(asked(), job)
    assert first.text.startswith("Today is 27 November 2026.")
    clock.moment = datetime(2026, 11, 28, 0, 0, 1)
    assert encoder.prompt(asked("Bye"), job).text.startswith("Today is 27 November 2026."), "one job, one date"
    assert encoder.prompt(asked()).text.startswith("Today is 28 November 2026."), "the next job sees its own"


def test_midnight_between_text_and_frame_harms_nothing(encoder, clock, monkeypatch):
    """Contents are found by rendering twice: with another date the second time the message would not be found."""
    days = iter(datetime(2026, 11, day, 12) for day in range(1, 30))
    monkeypatch.setattr(clock, "now", classmethod(lambda cls, tz=None: next(days)))
    encoded = encoder.prompt(asked())
    assert encoded.text == "Today is 01 November 2026.\nuser: Hello\n"
    assert encoded.text[encoded.regions[0].start : encoded.regions[0].end] == "Hello"


def test_a_job_draws_once(encoder):
    """Text and frame, and every chat of a job, have the same draw; another job has its own."""
    encoder.tokenizer.chat_template = "{{ range(1000) | random }} {{ [[1, 2, 3]] | map('random') | first }}\n" + TURNS
    job = TemplateClock()
    first, second = (encoder.prompt(asked(content), job).text.splitlines() for content in ("Hello", "Bye"))
    assert first[0] == second[0]
    assert (first[1], second[1]) == ("user: Hello", "user: Bye")
    assert len({encoder.prompt(asked()).text for _ in range(4)}) > 1


def test_the_clock_is_given_back(encoder, clock):
    tokenizer = encoder.tokenizer
    encoder.prompt(asked(), TemplateClock())
    clock.moment = datetime(2027, 1, 2)
    text = tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
    assert "02 January 2027" in text
