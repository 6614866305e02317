import pytest

from explaind_service.submission.prefer import Preference, parse_prefer


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], Preference()),
        (["wait=10"], Preference(wait_s=10)),
        (["WAIT = 10"], Preference(wait_s=10)),
        (['wait="10"'], Preference(wait_s=10)),
        (["wait=0"], Preference(wait_s=0)),
        (["wait=9999"], Preference(wait_s=60)),
        (["respond-async, wait=10"], Preference(wait_s=10, respond_async=True)),
        (["respond-async", "wait=10; foo=bar"], Preference(wait_s=10, respond_async=True)),
        (["wait=10, wait=20"], Preference(wait_s=10)),
        (["return=minimal"], Preference()),
        (["wait=soon"], Preference()),
        (["wait=-1"], Preference()),
        (["wait=1.5"], Preference()),
        (["wait=²"], Preference()),
        (["wait=" + "9" * 5000], Preference()),
        ([",,;=,"], Preference()),
    ],
)
def test_parse(fields: list[str], expected: Preference) -> None:
    assert parse_prefer(fields, max_wait_s=60) == expected


def test_applied_names_what_is_done() -> None:
    assert parse_prefer(["respond-async, wait=9999"], max_wait_s=60).applied == "respond-async, wait=60"
    assert parse_prefer(["wait=never"], max_wait_s=60).applied is None
