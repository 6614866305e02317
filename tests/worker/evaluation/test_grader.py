"""What is taken for the answer, when it is right, and a test for every rule by which it is wrong."""

from fractions import Fraction

import pytest

from explaind.contract.blocks.grading import CATEGORY_OF, MEANING
from explaind.contract.blocks.questions import AskedQuestion
from explaind_worker.evaluation.answer_extraction import answer_in
from explaind_worker.evaluation.grader import judged, off_by_a_unit, other_calculation
from explaind_worker.evaluation.number_parsing import number_of, numbers_of


def question(text="12 + 7 =", answer="19", **fields):
    return AskedQuestion(question=text, answer=answer, **fields)


def verdict(said, asked=None, *, finish="end", **wanted):
    return judged(asked or question(), said, finish=finish, **wanted)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("$1,234.50", ["1234.5"]),
        ("1,234 and 5,67", ["1234", "5", "67"]),
        ("-7, \u22127 and -$7 and $-7", ["-7", "-7", "-7", "-7"]),
        ("52-18, 52 - 18, (3)-2", ["52", "18", "52", "18", "3", "2"]),
        ("3/4, 1 1/2, 6/3.", ["3/4", "3/2", "2"]),
        ("1/0, 9/10/2020", ["9", "10", "2020"]),
        ("It is 42. Or .5, or 2.50%", ["42", "1/2", "5/2"]),
        ("none at all", []),
    ],
)
def test_numbers_are_read_as_people_write_them(text, values):
    assert [number.value for number in numbers_of(text)] == [Fraction(value) for value in values]


def test_a_text_is_a_number_or_holds_some():
    assert number_of("$1,000").value == 1000
    assert number_of("42 apples").value == 42
    assert number_of("42.").value == 42
    assert number_of("3 or 4") is None
    assert number_of("the year 1984") is None


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (" 19", "19"),
        (" 19.\nQuestion: 3 + 4 =\nAnswer: 7", "19"),
        (" 19, 20, 21", "19"),
        (" The answer is 19.", "19"),
        ("Take 12 and 7. Answer: 19", "19"),
        (" 12 + 7 = 19", "19"),
        (" 12 + 7 = 19, so 3 + 4 = 7", "7"),
        ("First 12, then 7.\n#### 19", "19"),
        (r" So it is \boxed{19} by adding 12.", "19"),
        ("In 2020 I counted. The answer is: 12 + 7 = 19", "19"),
        (" nothing", None),
        ("\nQ: 1 + 1 =\nA: 2", None),
        ("", None),
    ],
)
def test_the_number_is_found_where_it_stands(said, found):
    answer = answer_in(said, question(), "auto")
    assert (answer and answer.text) == found


def test_worked_answers_end_in_the_answer():
    worked = question(steps=["12"])
    assert answer_in(" First 12. That makes 19 rolls.", worked, "auto").text == "19"
    assert answer_in(" The answer is 19. I like 7.", worked, "auto").text == "19"
    assert answer_in(" 5 and 6", question(), "first_number").text == "5"
    assert answer_in(" 5 and 6", question(), "last_number").text == "6"


def test_the_prompt_is_never_looked_at():
    asked = question("The answer is 19. #### 19. What is 12 + 7?", "19")
    assert verdict(" I do not know", asked).rule == "no_answer"
    assert not verdict("", asked).right
    assert verdict(" 18", asked).extracted == "18"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("19", " $19.00"),
        ("1234.5", "It costs $1,234.50!"),
        ("42", "\n#### 42"),
        ("42", "The answer is 42."),
        ("-5", " -5"),
        ("-5", " \u22125."),
        ("0.5", " 1/2"),
        ("3/4", " 0.75"),
        ("$18", " 18 dollars"),
    ],
)
def test_right_numbers_are_right_however_they_are_written(answer, said):
    assert verdict(said, question("How much?", answer)).right


def test_the_tolerance_is_absolute():
    third = question("1 / 3 =", "0.333")
    assert not verdict(" 1/3", third).right
    assert verdict(" 1/3", third, tolerance=0.001).right


@pytest.mark.parametrize(
    ("answer", "said", "right"),
    [
        ("yes", " Yes.", True),
        ("yes", " That is true!", True),
        ("true", " yes", True),
        ("no", " No, it cannot.", True),
        ("no", " That is not true.", True),
        ("no", " incorrect", True),
        ("no", " yes", False),
        ("true", " It isn't correct", False),
    ],
)
def test_yes_and_no_have_their_synonyms(answer, said, right):
    assert verdict(said, question("Is it?", answer)).right == right


@pytest.mark.parametrize(
    ("said", "right"), [(" red", True), (" Red.", True), (" red and tall", True), (" blue", False), (" redder", False)]
)
def test_words_are_compared_by_as_many_as_the_answer_has(said, right):
    assert verdict(said, question("Every fox is red. Every dog is blue. So", "red")).right == right


def test_a_choice_is_the_first_of_what_is_offered():
    asked = question("Which?", "B", foil="A")
    assert verdict(" It is a hard one: B, not A", asked, form="choice").right
    assert verdict(" A or B", asked, form="choice").rule == "other_answer"
    assert verdict(" neither", asked, form="choice").rule == "no_answer"


def test_the_first_line_is_taken_whole():
    asked = question("Where?", "in the park")
    assert verdict("\n In the park.\nAnd then", asked, form="first_line").right
    assert not verdict(" in the park today", asked, form="first_line").right


# A test for every rule.


@pytest.mark.parametrize(
    ("rule", "asked", "said", "finish"),
    [
        ("no_answer", question(), " I wonder", "end"),
        ("cut_off", question(), " 1", "length"),
        ("intermediate_step", question("What is 3 + 4 + 2?", "9", steps=["7"]), " 7", "end"),
        ("other_operation", question("52 - 18 =", "34"), " 70", "end"),
        ("other_answer", question("Is it?", "yes"), " no", "end"),
        ("one_unit", question("47 + 38 =", "85"), " 75", "end"),
        ("one_place", question("12 * 4 =", "48"), " 480", "end"),
        ("repeats_the_question", question("12 + 26 - 4 =", "34"), " 12", "end"),
        ("unrelated", question("47 + 38 =", "85"), " 63", "end"),
    ],
)
def test_every_rule_tells_its_mistake(rule, asked, said, finish):
    found = verdict(said, asked, finish=finish)
    assert (found.right, found.rule, found.category) == (False, rule, CATEGORY_OF[rule])
    assert found.explanation
    assert set(CATEGORY_OF) == set(MEANING)


@pytest.mark.parametrize(
    ("rule", "asked", "said", "finish"),
    [
        # The same digit, not cut off: one place is no prefix once the model has ended the number itself.
        ("unrelated", question("47 + 38 =", "185"), " 1", "end"),
        ("unrelated", question("47 + 38 =", "185"), " 1 and", "length"),
        # Without its steps a value on the way is told by its calculation, and with other numbers not at all.
        ("unrelated", question("What is 8 + 4 + 2?", "14"), " 11", "end"),
        # A word that the question does not hold.
        ("unrelated", question("Every fox is red. So", "red"), " green", "end"),
        ("other_answer", question("Every fox is red. Every dog is blue. So", "red"), " blue", "end"),
        ("other_answer", question("So", "red", foil="blue"), " blue", "end"),
    ],
)
def test_the_rules_do_not_hold_of_anything_else(rule, asked, said, finish):
    assert verdict(said, asked, finish=finish).rule == rule


def test_the_first_rule_that_holds_counts():
    # 4 = 2 + 2 is a step, an operation and one too many at once.
    assert verdict(" 4", question("2 + 2 - 1 =", "3", steps=["4"])).rule == "intermediate_step"
    # 3 = 3 * 1 and one too many.
    assert verdict(" 3", question("3 - 1 =", "2")).rule == "other_operation"
    # 12 is the question's and ten more than the answer.
    assert verdict(" 12", question("12 + 9 - 19 + 8 + 1 =", "11")).rule == "one_unit"


def test_other_calculations_keep_the_numbers_order():
    given = [Fraction(n) for n in (6, 2, 3)]
    assert other_calculation(Fraction(24), given, Fraction(11)) == "(6 + 2) * 3"
    assert other_calculation(Fraction(9), given, Fraction(24)) == "6 / 2 * 3"
    assert other_calculation(Fraction(12), given, Fraction(24)) == "(6 - 2) * 3"
    assert other_calculation(Fraction(24), given, Fraction(24)) is None, "it is right"
    assert other_calculation(Fraction(7), given, Fraction(100)) is None, "no sequence is the right one"
    assert other_calculation(Fraction(36), given, Fraction(100)) == "6 * 2 * 3"
    assert other_calculation(Fraction(5), [Fraction(5)], Fraction(4)) is None
    assert other_calculation(Fraction(4), [Fraction(2), Fraction(6)], Fraction(8)) == "6 - 2"
    assert other_calculation(Fraction(-4), [Fraction(6), Fraction(0)], Fraction(6)) is None
    many = [Fraction(n) for n in (1, 2, 3, 4, 5)]
    assert other_calculation(Fraction(15), many, Fraction(0)) == "1 + 2 + 3 + 4 + 5"
    assert other_calculation(Fraction(5), many, Fraction(0)) is None


@pytest.mark.parametrize(
    ("right", "said", "words"),
    [
        ("85", "84", "one"),
        ("85", "95", "one in the tens"),
        ("85", "185", None),
        ("5", "15", None),
        ("0.25", "0.26", "one unit of 0.01"),
        ("0.25", "0.251", None),
        ("-5", "-4", "one"),
        ("1,250", "1150", "one in the hundreds"),
    ],
)
def test_a_unit_is_of_a_place_that_the_right_number_has(right, said, words):
    assert off_by_a_unit(Fraction(said), number_of(right)) == words
