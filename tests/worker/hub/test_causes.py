"""Exceptions of the network and the disk as causes; those of the hub itself are met in test_outcomes."""

import errno
import json
import socket
import ssl
from importlib import import_module

import huggingface_hub
import pytest
from huggingface_hub.errors import HFValidationError

from explaind_worker.hub.causes import Cause, Failure, failure_of
from explaind_worker.hub.sentences import SENTENCES, error_of

http = import_module(type(huggingface_hub.get_session()).__module__.partition(".")[0])


def raised_from(error: Exception, reason: Exception) -> Exception:
    error.__cause__ = reason
    return error


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (raised_from(http.ConnectError("no"), socket.gaierror(-2, "Name or service not known")), Cause.NO_SUCH_HOST),
        (raised_from(http.ConnectError("no"), ssl.SSLCertVerificationError(1, "self-signed")), Cause.CERTIFICATE),
        (http.ConnectError("refused"), Cause.UNREACHABLE),
        (http.ProxyError("refused"), Cause.UNREACHABLE),
        (http.ReadTimeout("late"), Cause.TIMEOUT),
        (http.RemoteProtocolError("peer closed connection"), Cause.BROKEN_OFF),
        (OSError("Consistency check failed: file should be of size 2 but has size 1"), Cause.BROKEN_OFF),
        (OSError(errno.ENOSPC, "No space left on device"), Cause.DISK_FULL),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), Cause.DISK_FULL),
        (UserWarning("Not enough free disk space to download the file: /secret"), Cause.DISK_FULL),
        (PermissionError(errno.EACCES, "Permission denied", "/secret/hub"), Cause.NOT_WRITABLE),
        (OSError(errno.EROFS, "Read-only file system", "/secret/hub"), Cause.NOT_WRITABLE),
        (json.JSONDecodeError("Expecting value", "<html>", 0), Cause.NOT_A_HUB),
        (HFValidationError("Cannot have -- or .. in repo_id"), Cause.NO_REPOSITORY),
        (RuntimeError("/secret"), Cause.OTHER),
    ],
)
def test_each_exception_has_its_cause_and_no_path_is_told(error, cause) -> None:
    failure = failure_of(error)
    assert failure.cause is cause
    assert Failure.from_json(json.loads(json.dumps(failure.as_json()))) == failure
    assert "secret" not in str(error_of(failure, "mine", "org/name", "0" * 40))


def test_what_an_exception_was_raised_from_tells_more_than_it_does_itself() -> None:
    outer = raised_from(OSError("We could not connect to the hub"), OSError(errno.ENOSPC, "No space left on device"))
    assert failure_of(outer).cause is Cause.DISK_FULL


def test_the_signature_of_an_address_is_not_told() -> None:
    note = failure_of(http.ConnectError("no answer of https://cdn.example/a?Signature=abc123 at all")).note
    assert note == "no answer of https://cdn.example/a at all"


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_sentence_and_a_way_out(cause) -> None:
    error = error_of(Failure(cause, endpoint="https://huggingface.co"), "mine", "org/name", "0" * 40)
    assert "{" not in error.detail + str(error.hint)
    assert "None" not in error.detail.replace("(status None", "")
    assert error.hint
    assert cause in SENTENCES


@pytest.mark.parametrize(
    ("token", "status", "words"), [(False, 401, "no token"), (True, 401, "wrong, revoked"), (True, 403, "no access")]
)
def test_a_gated_repository_is_told_with_its_page_and_what_the_token_lacks(token, status, words) -> None:
    failure = Failure(Cause.GATED, status=status, endpoint="https://huggingface.co", with_token=token)
    error = error_of(failure, "mine", "meta-llama/Llama-3.2-1B", "0" * 40)
    assert words in error.detail
    assert "https://huggingface.co/meta-llama/Llama-3.2-1B" in error.hint
    assert "mirror" not in error.hint
