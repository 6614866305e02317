"""Pages of a list, one after the other."""

from types import SimpleNamespace

from explaind.contract.job import JobPage
from explaind.protocol.paging import Paging


def item(name: str) -> SimpleNamespace:
    return SimpleNamespace(id=name)


def test_files_go_on_after_the_last_id() -> None:
    paging = Paging()
    assert [each.id for each in paging.take(SimpleNamespace(data=[item("b"), item("a")], has_more=True))] == ["b", "a"]
    assert (paging.more, paging.after) == (True, "a")
    paging.take(SimpleNamespace(data=[], has_more=False))
    assert not paging.more


def test_an_empty_page_of_jobs_may_not_be_the_last() -> None:
    paging = Paging()
    assert paging.take(JobPage(data=[], has_more=True, next="job_7")) == []
    assert (paging.more, paging.after) == (True, "job_7")
    paging.take(JobPage(data=[], has_more=False))
    assert not paging.more


def test_an_older_service_that_names_no_next_page_does_not_keep_anyone_asking() -> None:
    paging = Paging()
    paging.take(JobPage(data=[], has_more=True))
    assert not paging.more
