"""The body of an upload: the file itself, or a form (multipart/form-data) with the file as its one part."""

import re
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, NoReturn

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from explaind.contract.errors import InvalidRequest, RequestError, UnsupportedMedia
from explaind.contract.files import MAX_NAME_CHARS
from explaind.contract.names import ONE_LINE
from explaind_jobs.files.dataset_codec import TableForm
from explaind_jobs.files.parquet import require_parquet

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FORMS: dict[str, TableForm] = {
    "application/jsonl": "jsonl",
    "application/x-ndjson": "jsonl",
    "application/x-jsonlines": "jsonl",
    "application/json": "jsonl",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "application/vnd.apache.parquet": "parquet",
}
# What the name of a file in a form says, where the type of its part says nothing.
SUFFIXES: dict[str, TableForm] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
MULTIPART = "multipart/form-data"
FIELD = "file"
# Of a form, beside its file: boundaries and the headers of its part.
MOST_FRAME_BYTES = 1 << 14
MOST_BOUNDARY = 200
HOW = f"Send one file as the field {FIELD!r}: curl -F {FIELD}=@rows.csv."


class UploadBody:
    """An upload as it comes in: the bytes of its file and, once these are here, how it is written and its name.

    Raises:
        UnsupportedMedia: what its Content-Type says is not read here.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise UnsupportedMedia("The body is packed (Content-Encoding).", hint="Send it as it is.")
        declared = request.headers.get("content-type", "")
        media = declared.partition(";")[0].strip().lower()
        self._form: TableForm | None = None if media == MULTIPART else _form_of(media, declared)
        self._boundary = _boundary(declared) if media == MULTIPART else b""
        self.file_name: str | None = None

    @property
    def form(self) -> TableForm:
        """How the file is written."""
        assert self._form is not None  # noqa: S101 - a form without a file is refused
        return self._form

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes of the file.

        Raises:
            InvalidRequest, RequestError, UnsupportedMedia: it is a form, and not one with one table in it.
        """
        if not self._boundary:
            async for chunk in self._request.stream():
                yield chunk
            return
        part = _FilePart(self)
        parser = MultipartParser(self._boundary, part.callbacks)
        seen = 0
        async for chunk in self._request.stream():
            try:
                parser.write(chunk)
            except FormParserError as error:
                raise RequestError("The body is no form (multipart/form-data).", hint=HOW) from error
            found = part.take()
            seen += len(chunk) - len(found)
            if seen > MOST_FRAME_BYTES:
                raise RequestError("There is too much in the form beside the file.", hint=HOW)
            if found:
                yield found
        part.end()

    def named(self, file_name: str | None, media: str, declared: str) -> None:
        """Takes what the headers of the file's part say. Raises InvalidRequest, UnsupportedMedia."""
        self.file_name = _checked_name(file_name)
        suffix = "." + file_name.rpartition(".")[2].lower() if file_name and "." in file_name else ""
        if media in FORMS or suffix not in SUFFIXES:
            self._form = _form_of(media, declared, in_part=True)
        else:
            self._form = _readable(SUFFIXES[suffix])


class _FilePart:
    """What a parser tells of a form, held to the one part that an upload has."""

    def __init__(self, body: UploadBody) -> None:
        self._body = body
        self._bytes = bytearray()
        self._name, self._value = bytearray(), bytearray()
        self._headers: dict[str, str] = {}
        self._parts, self._ended = 0, False
        self.callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_headers_finished": self._open,
            "on_part_data": lambda data, start, end: self._bytes.extend(data[start:end]),
            "on_end": self._end,
        }

    def take(self) -> bytes:
        """The bytes of the file that came since the last call."""
        found = bytes(self._bytes)
        self._bytes.clear()
        return found

    def end(self) -> None:
        """The body is here. Raises InvalidRequest, RequestError: the file is not."""
        if not self._ended:
            raise RequestError("The form breaks off: its last boundary is missing.", hint=HOW)
        if not self._parts:
            _refuse("The form has no file.")

    def _begin(self) -> None:
        self._parts += 1
        self._headers = {}

    def _header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name.clear()
        self._value.clear()

    def _open(self) -> None:
        kind, options = parse_options_header(self._headers.get("content-disposition"))
        field = options.get(b"name", b"").decode("latin-1")
        if kind != b"form-data" or field != FIELD:
            _refuse(f"The form has the field {field[:100]!a}, which is not taken here.", field)
        if self._parts > 1:
            _refuse("The form has more than one file.")
        if self._headers.get("content-transfer-encoding", "binary").strip().lower() not in {"binary", "8bit", "7bit"}:
            raise UnsupportedMedia("The file is in a Content-Transfer-Encoding.", hint="Send it as it is.")
        name = options.get(b"filename")
        try:
            file_name = None if name is None else name.decode()
        except UnicodeDecodeError:
            _refuse("The name of the file is not UTF-8.")
        declared = self._headers.get("content-type", "")
        self._body.named(file_name or None, declared.partition(";")[0].strip().lower(), declared)

    def _end(self) -> None:
        self._ended = True


def _form_of(media: str, declared: str, *, in_part: bool = False) -> TableForm:
    """How a file of that media type is written.

    Raises:
        UnsupportedMedia: it is not read here.
    """
    form = FORMS.get(media)
    if form is None:
        what = "file" if in_part else "body"
        raise UnsupportedMedia(
            f"The {what} is declared as {media[:100]!r}." if media else f"The {what} has no Content-Type.",
            hint=f"Name it *{', *'.join(SUFFIXES)}, or declare it as one of {', '.join(FORMS)}."
            if in_part
            else f"Send one of {', '.join(FORMS)}, or a form ({MULTIPART}) with the file as {FIELD!r}.",
        )
    options = [part.partition("=") for part in declared.lower().split(";")[1:]]
    charset = next((value for name, _, value in options if name.strip() == "charset"), "utf-8")
    if charset.strip(' "') not in {"utf-8", "utf8", "us-ascii"}:
        raise UnsupportedMedia("The text is in another encoding than UTF-8.", hint="Send UTF-8.")
    return _readable(form)


def _readable(form: TableForm) -> TableForm:
    if form == "parquet":
        require_parquet()
    return form


def _boundary(declared: str) -> bytes:
    boundary = parse_options_header(declared)[1].get(b"boundary", b"")
    if not 0 < len(boundary) <= MOST_BOUNDARY:
        raise RequestError("The form's Content-Type has no boundary.", hint="Let your HTTP client write that header.")
    return boundary


def _checked_name(name: str | None) -> str | None:
    if name is None:
        return None
    shown = re.split(r"[/\\]", name)[-1]
    if not (0 < len(shown) <= MAX_NAME_CHARS and re.fullmatch(ONE_LINE, shown)):
        _refuse(f"The name of the file is not one line of 1 to {MAX_NAME_CHARS} characters.")
    return shown


def _refuse(detail: str, field: str = FIELD) -> NoReturn:
    pointer = field.replace("~", "~0").replace("/", "~1")[:100]
    raise InvalidRequest.at(f"/body/{pointer}", detail, hint=HOW)
