"""Built-in question sets, with easy and hard questions, so that a model of any size answers some correctly."""

from collections.abc import Mapping
from types import MappingProxyType

from explaind.contract.blocks.questions import PLACE, AskedQuestion, QuestionSet


def _asked(kind: str, question: str, answer: str, foil: str, *steps: str) -> AskedQuestion:
    return AskedQuestion(question=question, answer=answer, foil=foil, kind=kind, steps=list(steps))


_ARITHMETIC = (
    _asked("addition", "7 + 5 =", "12", "13"),
    _asked("addition", "12 + 7 =", "19", "18"),
    _asked("addition", "47 + 38 =", "85", "84"),
    _asked("addition", "64 + 27 =", "91", "81"),
    _asked("subtraction", "9 - 4 =", "5", "6"),
    _asked("subtraction", "52 - 18 =", "34", "36"),
    _asked("multiplication", "6 * 3 =", "18", "16"),
    _asked("multiplication", "12 * 4 =", "48", "46"),
)

_MULTISTEP = (
    _asked("two steps", "What is 3 + 4 + 2?", "9", "8", "7"),
    _asked("two steps", "What is (6 + 2) * 3?", "24", "21", "8"),
    _asked("two steps", "Start with 20. Take away 6. Then halve what is left. What is the result?", "7", "6", "14"),
    _asked(
        "three steps",
        "Nina has 4 bags with 5 marbles in each. She loses 3 marbles and then finds 1. How many marbles has she now?",
        "18",
        "19",
        "20",
        "17",
    ),
    _asked(
        "three steps",
        "A bus starts with 12 people. At the first stop 5 get off and 9 get on. At the second stop half of the people "
        "get off. How many people are on the bus then?",
        "8",
        "9",
        "7",
        "16",
    ),
)

_LOGIC = (
    _asked("deduction", "Every fox is red. Every dog is blue. Anna is a fox. So Anna is", "red", "blue"),
    _asked("deduction", "Every cat is slow. Every bird is loud. Tom is a bird. So Tom is", "loud", "slow"),
    _asked(
        "yes or no",
        "All squares are rectangles. No rectangle is round. Can a square be round? Answer yes or no:",
        "no",
        "yes",
    ),
    _asked(
        "true or false",
        "Rosa is taller than Max. Max is taller than Kate. True or false: Rosa is taller than Kate. Answer:",
        "true",
        "false",
    ),
)

_GSM8K = (
    _asked(
        "word problem",
        "A baker fills 3 trays with 12 rolls each. She sells 25 rolls before noon and gives 4 to a neighbour. "
        "How many rolls are left?",
        "The baker has 3 * 12 = <<3*12=36>>36 rolls.\nAfter noon 36 - 25 = <<36-25=11>>11 are left.\n"
        "After her gift 11 - 4 = <<11-4=7>>7 are left.\n#### 7",
        "9",
    ),
    _asked(
        "word problem",
        "Oscar saves $15 a week for 6 weeks. He then buys a lamp for $38 and a book for half as much. "
        "How many dollars has he left?",
        "Oscar saves 15 * 6 = <<15*6=90>>90 dollars.\nThe book costs 38 / 2 = <<38/2=19>>19 dollars.\n"
        "Both cost 38 + 19 = <<38+19=57>>57 dollars.\nHe has 90 - 57 = <<90-57=33>>33 dollars left.\n#### 33",
        "35",
    ),
    _asked(
        "word problem",
        "A train has 8 coaches with 40 seats each. A quarter of all seats are empty. How many passengers have a seat?",
        "The train has 8 * 40 = <<8*40=320>>320 seats.\nEmpty are 320 / 4 = <<320/4=80>>80.\n"
        "Taken are 320 - 80 = <<320-80=240>>240.\n#### 240",
        "260",
    ),
    _asked(
        "word problem",
        "Lucy reads 14 pages on Monday, twice as many on Tuesday and 6 fewer than on Tuesday on Wednesday. "
        "How many pages does she read on the three days?",
        "On Tuesday she reads 14 * 2 = <<14*2=28>>28 pages.\nOn Wednesday she reads 28 - 6 = <<28-6=22>>22 pages.\n"
        "Together that is 14 + 28 + 22 = <<14+28+22=64>>64 pages.\n#### 64",
        "62",
    ),
    _asked(
        "word problem",
        "A garden is 9 metres long and 5 metres wide. A fence around it costs $6 a metre, and a gate costs $45 more. "
        "How many dollars do fence and gate cost together?",
        "The fence is 2 * (9 + 5) = <<2*(9+5)=28>>28 metres long.\nIt costs 28 * 6 = <<28*6=168>>168 dollars.\n"
        "With the gate that is 168 + 45 = <<168+45=213>>213 dollars.\n#### 213",
        "203",
    ),
)

QUESTION_SETS: Mapping[QuestionSet, tuple[AskedQuestion, ...]] = MappingProxyType(
    {"arithmetic": _ARITHMETIC, "multistep": _MULTISTEP, "logic": _LOGIC, "gsm8k": _GSM8K}
)
"""Every built-in set by its name; those of `gsm8k` are in the style of the benchmark, and none of them is from it."""

TEMPLATES: Mapping[QuestionSet, str] = MappingProxyType(
    {
        "arithmetic": PLACE,
        "multistep": f"Question: {PLACE}\nAnswer:",
        "logic": PLACE,
        "gsm8k": f"Question: {PLACE}\nAnswer:",
    }
)
"""How a set's questions are asked where the request says nothing else."""
