"""Retries, problems, and answers that are not explaind's."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from explaind import Client
from explaind.contract.errors import (
    CapacityError,
    ClientError,
    ConnectionFailed,
    ExplaindError,
    FieldError,
    QueueFull,
    StoreUnavailable,
    UnexpectedResponse,
    classes_by_code,
)
from explaind.protocol.exchange import Policy, Request, Send, Sleep, exchange, retry_after

MODELS = httpx.Response(200, json={"data": []})


def problem(error: ExplaindError, **headers: str) -> httpx.Response:
    body = error.problem().model_dump_json()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    media = {"content-type": "application/problem+json"}
    return httpx.Response(error.problem().status or 500, content=body, headers={**headers, **media})


def test_retry_after_is_obeyed(client: Client, script, clock):
    script.says(problem(QueueFull("Full."), retry_after="7"), MODELS)
    assert client.models() == []
    assert clock.slept == [7.0]


def test_retry_after_may_be_a_date():
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert retry_after(httpx.Response(503, headers={"retry-after": moment})) == pytest.approx(30, abs=2)


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf"])
def test_a_retry_after_without_sense_is_none(text):
    assert retry_after(httpx.Response(503, headers={"retry-after": text})) is None


def test_a_retry_after_that_is_too_long_is_left_to_the_caller(client: Client, script, clock):
    script.says(problem(QueueFull("Full."), retry_after="3600"))
    with pytest.raises(QueueFull) as caught:
        client.models()
    assert caught.value.retry_after == 3600
    assert clock.slept == []


def test_backoff_doubles_and_gives_up_after_max_retries(client: Client, script, clock):
    script.says(*[problem(StoreUnavailable("Down."))] * 5)
    with pytest.raises(StoreUnavailable):
        client.models()
    assert clock.slept == [0.25, 0.5, 1.0, 2.0]


def test_jitter_takes_a_part_of_the_backoff(client: Client, script, clock):
    client.driver.policy = type(client.driver.policy)(jitter=lambda: 0.5, clock=clock)
    script.says(httpx.ConnectError("refused"), MODELS)
    client.models()
    assert clock.slept == [0.125]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_gateway_without_a_problem_is_tried_again(client: Client, script, status):
    script.says(httpx.Response(status, text="<html>busy</html>"), MODELS)
    assert client.models() == []


def test_a_problem_that_cannot_pass_is_not_tried_again(client: Client, script):
    final = StoreUnavailable("Never.").problem().model_copy(update={"retryable": False})
    script.says(httpx.Response(503, content=final.model_dump_json()))
    with pytest.raises(StoreUnavailable):
        client.models()
    assert len(script.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 500])
def test_other_statuses_are_not_tried_again(client: Client, script, status):
    script.says(httpx.Response(status, text="no"))
    with pytest.raises(UnexpectedResponse):
        client.models()
    assert len(script.requests) == 1


def test_connection_errors_are_tried_again(client: Client, script, clock):
    script.says(httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), MODELS)
    assert client.models() == []
    assert clock.slept == [0.25, 0.5]


def test_connection_failed_says_what_to_do(client: Client, script):
    script.says(*[httpx.ConnectError("Connection refused")] * 5)
    with pytest.raises(ConnectionFailed, match="Connection refused") as caught:
        client.models()
    assert "explaind up" in str(caught.value)
    assert "http://explaind.test" in str(caught.value)


def test_an_address_of_another_kind_is_not_tried_again(clock):
    with Client("ftp://explaind.test") as client:
        client.driver.sleep = clock.sleep
        with pytest.raises(ConnectionFailed):
            client.models()
    assert clock.slept == []


@pytest.mark.parametrize("code", sorted(classes_by_code()))
def test_every_problem_becomes_the_class_that_wrote_it(client: Client, script, code):
    cls = classes_by_code()[code]
    sent = cls("What.", hint="Do.", errors=[FieldError(pointer="/model", detail="Wrong.")], instance="/jobs/1")
    response = problem(sent, x_request_id="req_1")
    client.driver.policy = type(client.driver.policy)(max_retries=0)
    script.says(response)
    with pytest.raises(ExplaindError) as caught:
        client.models()
    raised = caught.value
    assert type(raised) is cls
    assert (raised.detail, raised.hint, raised.errors) == ("What.", "Do.", sent.errors)
    assert (raised.instance, raised.request_id) == ("/jobs/1", "req_1")


def test_a_code_of_a_newer_service_becomes_a_family(client: Client, script):
    newer = QueueFull("x").problem().model_copy(update={"code": "brand_new", "status": 418})
    script.says(httpx.Response(418, content=newer.model_dump_json()))
    with pytest.raises(ExplaindError) as caught:
        client.models()
    assert not isinstance(caught.value, CapacityError | ClientError)


def test_an_unexpected_answer_is_quoted_briefly(client: Client, script):
    script.says(httpx.Response(200, text="<html>\n  <body>Welcome to nginx!" + "x" * 5000))
    with pytest.raises(UnexpectedResponse) as caught:
        client.models()
    assert "status 200" in caught.value.detail
    assert "Welcome to nginx!" in caught.value.detail
    assert len(caught.value.detail) < 400


def test_a_redirect_says_where_it_points(client: Client, script):
    script.says(httpx.Response(301, headers={"location": "https://explaind.test/"}))
    with pytest.raises(UnexpectedResponse, match=r"https://explaind\.test/"):
        client.models()


@pytest.mark.parametrize(("deadline", "again"), [(None, True), (100.3, True), (100.2, False)])
def test_no_retry_begins_past_the_deadline(deadline: float | None, again: bool):
    flow = exchange(Policy(clock=lambda: 100.0, jitter=lambda: 1.0), Request("GET", "/models"), deadline=deadline)
    assert isinstance(next(flow), Send)
    if again:
        assert flow.send(problem(StoreUnavailable("Down."))) == Sleep(0.25)
    else:
        with pytest.raises(StopIteration) as ended:
            flow.send(problem(StoreUnavailable("Down.")))
        assert ended.value.value[0].status_code == 503
