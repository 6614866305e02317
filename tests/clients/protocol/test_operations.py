"""What a client asks for: submitting, waiting, results, cancelling, deleting, listing."""

import json

import httpx
import pytest

from explaind import Client
from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.errors import (
    InvalidRequest,
    JobCancelled,
    JobError,
    JobNotFinished,
    JobNotFound,
    NotFound,
    OutOfMemory,
    UnexpectedResponse,
    UnknownMethod,
    WaitTimeout,
)
from explaind.contract.job import JobState
from explaind.contract.methods.explain.shap import ShapParams
from explaind.contract.registry import all_methods

ASK = {"model": "demo", "prompt": "great food", "target": " yes"}


def test_a_call_submits_waits_and_returns_the_typed_result(client: Client, script, says_job, attribution_json):
    script.says(says_job("queued", status=202), says_job("running"), says_job("succeeded", result=attribution_json))
    result = client.explain.shap(model="demo", prompt="great food", target=" yes")
    assert isinstance(result, Attribution)
    assert result.values[0] == 1.5
    assert script.asked[0] == "POST /explain/shap"
    assert json.loads(script.requests[0].content) == {**ASK, "target": {"text": " yes"}}


def test_a_result_that_is_only_linked_is_fetched(client: Client, script, says_job, attribution_json):
    script.says(says_job("succeeded"), httpx.Response(200, json=attribution_json))
    assert client.run("explain/shap", ASK).values[0] == 1.5
    assert script.asked[1] == f"GET /jobs/{says_job().json()['id']}/result"


def test_the_idempotency_key_is_the_same_in_every_retry(client: Client, script, says_job):
    script.says(httpx.ReadTimeout("slow"), httpx.Response(502), says_job("queued", status=202))
    client.submit("explain/shap", ASK)
    keys = [request.headers["idempotency-key"] for request in script.requests]
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_two_calls_have_two_idempotency_keys(client: Client, script, says_job):
    script.says(says_job("queued", status=202), says_job("queued", status=202))
    client.submit("explain/shap", ASK)
    client.submit("explain/shap", ASK)
    first, second = (request.headers["idempotency-key"] for request in script.requests)
    assert first != second


def test_an_idempotency_key_can_be_given(client: Client, script, says_job):
    script.says(says_job("queued", status=202), says_job("queued", status=202))
    client.submit("explain/shap", ASK, idempotency_key="mine")
    client.explain.shap.with_options(idempotency_key="mine").submit(**ASK)
    assert [request.headers["idempotency-key"] for request in script.requests] == ["mine", "mine"]


def test_waiting_polls_more_and_more_slowly(client: Client, script, says_job, clock, attribution_json):
    script.says(says_job("queued", status=202), *[says_job("running")] * 32)
    script.says(says_job("succeeded", result=attribution_json))
    client.submit("explain/shap", ASK).wait()
    assert clock.slept[0] == 0.02
    assert clock.slept[-1] == 1.0
    assert clock.slept == sorted(clock.slept)


def test_progress_is_told_on_every_change_and_only_then(client: Client, script, says_job, attribution_json):
    half = {"phase": "evaluating", "done": 8, "total": 16, "unit": "coalitions"}
    script.says(
        says_job("queued", status=202, queue_position=1),
        says_job("queued", queue_position=1),
        says_job("running"),
        says_job("running", progress=half),
        says_job("running", progress=half),
        says_job("succeeded", progress=half, result=attribution_json),
    )
    seen = []
    handle = client.submit("explain/shap", ASK)
    handle.wait(on_progress=lambda job: seen.append((job.state.value, job.progress and job.progress.done)))
    assert seen == [("queued", None), ("running", None), ("running", 8), ("succeeded", 8)]
    assert handle.progress is not None
    assert handle.progress.done == 8


def test_a_wait_that_is_too_long_keeps_the_job(client: Client, script, says_job, clock):
    script.says(says_job("queued", status=202), *[says_job("running")] * 40)
    handle = client.submit("explain/shap", ASK)
    began = clock.now
    with pytest.raises(WaitTimeout) as caught:
        handle.wait(timeout=3)
    assert clock.now - began == pytest.approx(3)
    assert handle.id in str(caught.value)
    assert caught.value.instance == f"/jobs/{handle.id}"
    assert handle.state is JobState.RUNNING


def test_a_wait_of_zero_asks_once(client: Client, script, says_job):
    script.says(says_job("queued", status=202), says_job("running"))
    handle = client.submit("explain/shap", ASK)
    with pytest.raises(WaitTimeout):
        handle.wait(timeout=0)
    assert len(script.requests) == 2


def test_a_job_that_has_ended_is_not_asked_for_again(client: Client, script, says_job, attribution_json):
    script.says(says_job("succeeded", result=attribution_json))
    handle = client.submit("explain/shap", ASK)
    assert handle.result().values[0] == 1.5
    assert len(script.requests) == 1


def test_waiting_lives_through_a_restart_of_the_service(client: Client, script, says_job, attribution_json):
    script.says(says_job("queued", status=202), httpx.ConnectError("refused"), httpx.Response(502))
    script.says(says_job("succeeded", result=attribution_json))
    assert client.run("explain/shap", ASK).values[0] == 1.5


def test_a_failed_job_raises_the_class_that_the_worker_raised(client: Client, script, says_job):
    problem = OutOfMemory("It did not fit.", hint="Ask for less.").problem().model_dump(mode="json")
    script.says(says_job("queued", status=202), says_job("failed", error=problem))
    with pytest.raises(OutOfMemory, match="did not fit") as caught:
        client.run("explain/shap", ASK)
    assert caught.value.instance is not None


def test_a_failed_job_can_be_waited_for_without_raising(client: Client, script, says_job):
    script.says(says_job("failed", error=OutOfMemory("No.").problem().model_dump(mode="json")))
    assert client.submit("explain/shap", ASK).wait().state is JobState.FAILED


def test_a_cancelled_job_raises(client: Client, script, says_job):
    script.says(says_job("cancelled"))
    with pytest.raises(JobCancelled):
        client.run("explain/shap", ASK)


def test_wrong_params_are_found_before_anything_is_sent(client: Client, script):
    with pytest.raises(InvalidRequest) as caught:
        client.submit("explain/shap", {"model": "demo", "prompt": "x", "budget": 1, "promt": "y"})
    assert {error.pointer for error in caught.value.errors} == {"/budget", "/promt"}
    assert "'prompt'" in str(caught.value)
    assert script.requests == []


def test_a_misspelt_keyword_is_an_invalid_request(client: Client):
    with pytest.raises(InvalidRequest, match="/promt"):
        client.explain.shap(model="demo", promt="x")  # pyright: ignore[reportCallIssue]


def test_errors_across_fields_point_to_the_field(client: Client):
    segments = {"segments": [[0, 2], [1, 3]]}
    with pytest.raises(InvalidRequest) as caught:
        client.run("explain/shap", {"model": "demo", "prompt": "abc", "units": segments})
    assert [error.pointer for error in caught.value.errors] == ["/units/segments/1"]


def test_only_what_was_given_is_sent(client: Client, script, says_job):
    script.says(says_job("queued", status=202))
    client.submit("/explain/shap/", ShapParams(model="demo", prompt="x", budget=64))
    assert json.loads(script.requests[0].content) == {"model": "demo", "prompt": "x", "budget": 64}


def test_a_method_of_a_newer_service_can_be_run(client: Client, script, says_job):
    script.says(says_job("succeeded", method="explain/brand-new", result={"kind": "brand-new", "x": 1}))
    assert client.run("explain/brand-new", {"model": "demo"}) == {"kind": "brand-new", "x": 1}


@pytest.mark.parametrize("path", ["shap", "../jobs", "explain/shap/x", "Explain/Shap"])
def test_what_cannot_be_a_method_is_not_sent(client: Client, path):
    with pytest.raises(UnknownMethod):
        client.submit(path, {"model": "demo"})


def test_a_result_of_another_shape_is_an_error_of_the_tree(client: Client, script, says_job):
    script.says(says_job("succeeded", result={"kind": "attribution", "values": "none"}))
    with pytest.raises(JobError, match="promises"):
        client.run("explain/shap", ASK)


def test_the_result_of_a_running_job_is_refused(client: Client, script, says_job):
    script.says(says_job("running"))
    with pytest.raises(JobNotFinished):
        client.jobs.result("job_x")


PAGE = {"path": "/rows", "offset": 10, "limit": 2, "total": 12, "has_more": False, "data": [[1.5], [2.5]]}


def test_a_part_of_a_result_is_fetched_alone(client: Client, script):
    script.says(httpx.Response(200, json=PAGE))
    page = client.jobs.result_page("job_x", "/rows", offset=10, limit=2)
    assert (page.data, page.total, page.has_more) == ([[1.5], [2.5]], 12, False)
    assert script.asked == ["GET /jobs/job_x/result?path=%2Frows&offset=10&limit=2"]


def test_a_part_by_larger_units(client: Client, script):
    script.says(httpx.Response(200, json=PAGE))
    client.jobs.result_page("job_x", "/rows", offset=10, limit=2, units="word")
    assert script.asked == ["GET /jobs/job_x/result?path=%2Frows&offset=10&limit=2&units=word"]


def test_a_result_is_shown_by_larger_units_without_asking_again(client: Client, script, says_job, attribution_json):
    count = len(attribution_json["units"])
    held = attribution_json | {"unit_kind": "word", "groups": {"sentence": [list(range(count))]}}
    script.says(says_job(result=held))
    result = client.jobs.result("job_x").regrouped("sentence")
    assert [unit.text for unit in result.units] == [attribution_json["prompt"]]
    assert len(script.asked) == 1


def test_a_pointer_to_nothing_is_named(client: Client, script):
    script.says(httpx.Response(422, json=InvalidRequest.at("/query/path", "Nothing.").problem().model_dump()))
    with pytest.raises(InvalidRequest) as caught:
        client.jobs.result_page("job_x", "/rows")
    assert caught.value.errors[0].pointer == "/query/path"


def test_job_ids_cannot_leave_their_place(client: Client, script):
    script.says(httpx.Response(404, content=JobNotFound("No.").problem().model_dump_json()))
    with pytest.raises(JobNotFound):
        client.jobs.get("../models?x=1")
    assert script.asked == ["GET /jobs/..%2Fmodels%3Fx%3D1"]


@pytest.mark.parametrize(
    ("job_id", "sent"),
    [("..", "%2E%2E"), (".", "%2E"), ("a/../b", "a%2F..%2Fb"), ("a b?#%", "a%20b%3F%23%25"), ("é\n", "%C3%A9%0A")],
)
def test_every_id_is_one_segment_of_its_path(client: Client, script, job_id, sent):
    gone = httpx.Response(404, content=JobNotFound("No.").problem().model_dump_json())
    calls = [
        lambda: client.jobs.get(job_id),
        lambda: client.jobs.cancel(job_id),
        lambda: client.jobs.delete(job_id),
        lambda: client.jobs.result_page(job_id, "/rows"),
        lambda: client.datasets.get(job_id),
        lambda: client.datasets.delete(job_id),
        lambda: client.artifacts.get(job_id),
        lambda: client.artifacts.delete(job_id),
    ]
    for call in calls:
        script.says(gone)
        with pytest.raises(JobNotFound):
            call()
    jobs = [f"/jobs/{sent}", f"/jobs/{sent}/cancel", f"/jobs/{sent}", f"/jobs/{sent}/result"]
    files = [f"/{kind}/{sent}" for kind in ("datasets", "datasets", "artifacts", "artifacts")]
    assert [asked.split()[1].partition("?")[0] for asked in script.asked] == jobs + files


def test_an_empty_id_is_no_path_of_all(client: Client, script):
    for call in (client.jobs.get, client.jobs.delete, client.datasets.delete, client.artifacts.delete):
        with pytest.raises(NotFound):
            call("")
    assert script.requests == []


def test_a_delete_whose_answer_was_lost_is_done(client: Client, script):
    gone = httpx.Response(404, content=JobNotFound("No.").problem().model_dump_json())
    script.says(httpx.ReadError("cut"), gone)
    client.jobs.delete("job_x")
    script.says(gone)
    with pytest.raises(JobNotFound):
        client.jobs.delete("job_x")


def test_listing_follows_the_pages(client: Client, script, job_json):
    pages = [
        {"data": [job_json(id="job_3"), job_json(id="job_2")], "has_more": True},
        {"data": [job_json(id="job_1")], "has_more": False},
    ]
    script.says(*[httpx.Response(200, json=page) for page in pages])
    found = [job.id for job in client.jobs.list(state="succeeded", page_size=2)]
    assert found == ["job_3", "job_2", "job_1"]
    assert script.asked == [
        "GET /jobs?state=succeeded&limit=2",
        "GET /jobs?state=succeeded&after=job_2&limit=2",
    ]


def test_the_catalogue_is_listed_to_its_last_page(client: Client, script):
    cards = [method.card().model_dump(mode="json") for method in all_methods().values()]
    script.says(httpx.Response(200, json={"data": cards[:1], "has_more": True}))
    script.says(httpx.Response(200, json={"data": cards[1:], "has_more": False}))
    assert [card.path for card in client.methods()] == [card["path"] for card in cards]
    assert script.asked == ["GET /methods", f"GET /methods?after=%2F{cards[0]['path'][1:].replace('/', '%2F')}"]
    # A page that says there is more and has nothing is the last.
    script.says(httpx.Response(200, json={"data": [], "has_more": True}))
    assert client.models() == []


def test_not_ready_is_an_answer(client: Client, script):
    body = {"ready": False, "store": True, "workers": 0, "queued": 3, "version": "0.1.0"}
    script.says(httpx.Response(503, json=body))
    assert client.ready().ready is False
    assert len(script.requests) == 1


def test_readiness_of_something_else_is_unexpected(client: Client, script):
    script.says(httpx.Response(200, text="OK"))
    with pytest.raises(UnexpectedResponse):
        client.ready()


def test_an_interrupted_call_cancels_its_job(client: Client, script, says_job):
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    client.driver.sleep = interrupt
    script.says(says_job("queued", status=202), says_job("cancelling"))
    with pytest.raises(KeyboardInterrupt):
        client.explain.shap(model="demo", prompt="x")
    assert script.asked[-1].endswith("/cancel")
