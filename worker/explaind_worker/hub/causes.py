"""Causes of failed downloads: one for each exception of huggingface_hub and of the network."""

import errno
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    DisabledRepoError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

RATE_LIMITED, UNAUTHORIZED, FORBIDDEN = 429, 401, 403
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT}
NOTE_CHARACTERS = 300
QUERY = re.compile(r"\?[^\s'\"]*")  # of a URL, where a CDN puts its signature


class Cause(StrEnum):
    """Cause of a failed download."""

    GATED = "gated"
    NO_REPOSITORY = "no_repository"
    NO_REVISION = "no_revision"
    NO_FILE = "no_file"
    NO_WEIGHTS = "no_weights"
    UNREADABLE = "unreadable"
    DISABLED = "disabled"
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - not a password
    NOT_ALLOWED = "not_allowed"
    OFFLINE = "offline"
    NO_SUCH_HOST = "no_such_host"
    UNREACHABLE = "unreachable"
    CERTIFICATE = "certificate"
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    BROKEN_OFF = "broken_off"
    NOT_A_HUB = "not_a_hub"
    DAMAGED = "damaged"
    DISK_FULL = "disk_full"
    NOT_WRITABLE = "not_writable"
    OTHER = "other"


@dataclass(frozen=True)
class Failure:
    """Details of a failed download.

    `status` is the hub's HTTP status, `note` the message of the hub or of a library, `files` the files concerned,
    `endpoint` the hub's URL, `with_token` whether a token was sent, `retry_after` the seconds the hub asked to wait.
    """

    cause: Cause
    status: int | None = None
    note: str = ""
    files: tuple[str, ...] = ()
    endpoint: str = ""
    with_token: bool = False
    retry_after: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The failure as JSON, for the parent of the download process."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """The failure from `as_json`."""
        return cls(**{**fields, "cause": Cause(fields["cause"]), "files": tuple(fields["files"])})


class NotFetched(Exception):
    """Files could not be downloaded, for a cause that no library has an exception for; `files` names them."""

    def __init__(self, cause: Cause, note: str = "", files: tuple[str, ...] = ()) -> None:
        super().__init__(note or cause)
        self.cause, self.files = cause, files


def failure_of(error: BaseException) -> Failure:
    """The failure behind an exception of a download; a chained cause is more specific than the exception itself."""
    chain = list(_chain(error))
    ours = [e for e in chain if isinstance(e, NotFetched)]
    ordered = [*ours, *reversed(chain)]
    cause, told = next(((cause, e) for e in ordered if (cause := _cause_of(e)) is not None), (None, error))
    response = next((e.response for e in chain if isinstance(e, HfHubHTTPError)), None)
    token = get_token() is not None
    status = None if response is None else response.status_code
    if status == UNAUTHORIZED and token and cause in (Cause.NO_REPOSITORY, Cause.SERVER_ERROR, Cause.NOT_ALLOWED, None):
        cause = Cause.TOKEN_REFUSED
    return Failure(
        cause or Cause.OTHER,
        status=status,
        note=_note(told),
        files=told.files if isinstance(told, NotFetched) else _file_of(response),
        endpoint=constants.ENDPOINT,
        with_token=token,
        retry_after=None if response is None else seconds_to_wait(response.headers),
    )


def seconds_to_wait(headers: Any) -> float | None:
    """The seconds of `Retry-After`, if given in seconds."""
    given = headers.get("Retry-After", "")
    return float(given) if given.isdecimal() else None


def named(error: BaseException, *names: str) -> bool:
    """Whether its class has one of these names; for the HTTP library, which varies with the hub library's version."""
    return any(cls.__name__ in names for cls in type(error).__mro__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__


def _cause_of(error: BaseException) -> Cause | None:  # noqa: PLR0911 - a table, most specific first
    if isinstance(error, NotFetched):
        return error.cause
    for kind, cause in (
        (GatedRepoError, Cause.GATED),  # before its base class
        (DisabledRepoError, Cause.DISABLED),
        (RevisionNotFoundError, Cause.NO_REVISION),
        (RepositoryNotFoundError, Cause.NO_REPOSITORY),
        (HFValidationError, Cause.NO_REPOSITORY),
        (RemoteEntryNotFoundError, Cause.NO_FILE),
        (OfflineModeIsEnabled, Cause.OFFLINE),
        (FileMetadataError, Cause.NOT_A_HUB),
        (socket.gaierror, Cause.NO_SUCH_HOST),
        (ssl.SSLCertVerificationError, Cause.CERTIFICATE),
    ):
        if isinstance(error, kind):
            return cause
    if isinstance(error, HfHubHTTPError):
        return _cause_of_status(error.response.status_code)
    if "Not enough free disk space" in str(error) or (isinstance(error, OSError) and error.errno in NO_SPACE):
        return Cause.DISK_FULL
    if isinstance(error, OSError) and error.errno in NOT_WRITABLE and error.filename is not None:
        return Cause.NOT_WRITABLE
    if named(error, "TimeoutException"):
        return Cause.TIMEOUT
    if named(error, "ConnectError", "ProxyError"):
        return Cause.UNREACHABLE
    if named(error, "TransportError") or "Consistency check failed" in str(error):
        return Cause.BROKEN_OFF
    return Cause.NOT_A_HUB if named(error, "JSONDecodeError") else None


def _cause_of_status(status: int) -> Cause:
    if status == RATE_LIMITED:
        return Cause.RATE_LIMITED
    if status in (UNAUTHORIZED, FORBIDDEN):
        return Cause.NOT_ALLOWED
    return Cause.SERVER_ERROR if status >= 500 else Cause.NOT_A_HUB


def _note(error: BaseException) -> str:
    said = error.server_message if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, OSError) and error.strerror:
        said = error.strerror  # without the path
    if isinstance(error, Warning):
        return ""  # it contains a path, too
    return QUERY.sub("", " ".join((said or str(error)).split()))[:NOTE_CHARACTERS]


def _file_of(response: Any) -> tuple[str, ...]:
    path = "" if response is None else str(response.request.url.path)
    _, mark, after = path.partition("/resolve/")
    return (after.partition("/")[2],) if mark else ()
