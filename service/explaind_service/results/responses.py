"""Responses with results: inside the job if small, alone in the negotiated encoding, or page by page."""

import gzip
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import Response

from explaind.contract.blocks.units import UnitKind
from explaind.contract.errors import RangeNotSatisfiable, ResultLost
from explaind.contract.job import Job, JobState
from explaind_jobs.results.codec import StoredResult, encode
from explaind_jobs.results.scripts import evict_cached
from explaind_jobs.store.job_store import AsyncJobStore
from explaind_jobs.store.job_view import not_found
from explaind_service.errors.problems import problem_response
from explaind_service.results.json_response import JSON, json_answer
from explaind_service.results.negotiation import (
    ByteRange,
    Encoding,
    asked_range,
    chosen_encoding,
    entity_tag,
    is_known,
    refuses_identity,
)
from explaind_service.results.pagination import ResultPages
from explaind_service.results.regroup import regrouped_json

# A larger result is a link in its job: polling a job should not transfer it every time.
MOST_IN_JOB = 1024 * 1024
# Each may hold some tens of megabytes; more at a time would only compete for the same cores.
HEAVY_AT_A_TIME = 4
GZIP_LEVEL = 5


class Results:
    """Results in the store, for the routes."""

    def __init__(self, store: AsyncJobStore) -> None:
        self._store = store
        self._pages = ResultPages(store.bodies)
        self._heavy = CapacityLimiter(HEAVY_AT_A_TIME)

    async def stored(self, job: Job[Any]) -> StoredResult | None:
        """The reference to the job's result; None if it has none.

        A cancelled job has one if its partial result is meaningful.

        Raises:
            JobNotFound: the job has been deleted, or has expired, since it was read.
        """
        if job.state not in {JobState.SUCCEEDED, JobState.CANCELLED}:
            return None
        stored = await self._store.stored_result(job.id)
        if stored is None and job.state is JobState.SUCCEEDED:
            raise not_found(job.id)
        return stored

    @asynccontextmanager
    async def reading(self, job: Job[Any]) -> AsyncIterator[None]:
        """Context around reading a job's result: a lost result is taken out of the cache."""
        try:
            yield
        except ResultLost:
            await self._store.run(evict_cached(job.id))
            raise

    async def within(self, job: Job[Any]) -> bytes | None:
        """The JSON to include in the job; None if there is no result, or one so large that it is only linked.

        Raises:
            JobNotFound: as `stored`.
        """
        stored = await self.stored(job)
        if stored is None or stored.inline is None or stored.size > MOST_IN_JOB:
            return None
        return self._store.bodies.raw(stored)

    async def raw(self, stored: StoredResult) -> bytes:
        """The whole JSON. Raises ResultLost and StoreUnavailable."""
        return await to_thread.run_sync(self._store.bodies.raw, stored, limiter=self._heavy)

    async def regrouped(self, job: Job[Any], stored: StoredResult, kind: UnitKind) -> StoredResult:
        """The result regrouped into larger units, as a stored result with a new digest.

        Raises:
            InvalidUnits: the result is not an attribution, or has no units of that kind.
            ResultLost, StoreUnavailable: it cannot be read.
        """

        def work() -> StoredResult:
            raw = self._store.bodies.raw(stored)
            changed = regrouped_json(job.method, raw, kind)
            if changed is None:
                return stored
            encoded = encode(changed)
            return encoded.stored(most_inline=len(encoded.data))

        return await to_thread.run_sync(work, limiter=self._heavy)

    async def page(self, stored: StoredResult, path: str, offset: int, limit: int) -> Response:
        """A page of one array of the result. Raises InvalidRequest, ResultLost and StoreUnavailable."""
        page = await to_thread.run_sync(self._pages.page, stored, path, offset, limit, limiter=self._heavy)
        return json_answer(page)

    async def answer(self, request: Request, stored: StoredResult) -> Response:
        """The result alone: in the negotiated encoding, or a range of it, or 304 Not Modified.

        Raises:
            ResultLost, StoreUnavailable: it cannot be read.
        """
        accepted = request.headers.get("accept-encoding")
        plain = entity_tag(stored.digest, Encoding.IDENTITY)
        part: ByteRange | None = None
        outside: RangeNotSatisfiable | None = None
        if request.method == "GET" and not refuses_identity(accepted):
            try:
                part = asked_range(request.headers.get("range"), request.headers.get("if-range"), plain, stored.size)
            except RangeNotSatisfiable as error:
                outside = error
        # Ranges refer to the plain bytes: offsets into zstd would mean nothing to a caller.
        encoding = Encoding.IDENTITY if part or outside else chosen_encoding(accepted)
        headers = _headers(stored, encoding)
        if is_known(request.headers.get("if-none-match"), headers["ETag"]):
            return Response(status_code=304, headers=headers)
        if outside is not None:
            refusal = problem_response(outside, request)
            refusal.headers["Content-Range"] = f"bytes */{stored.size}"
            return refusal
        if part is not None:
            return await self._range(stored, part, headers)
        if encoding is not Encoding.IDENTITY:
            headers["Content-Encoding"] = encoding
        if request.method == "HEAD":
            return _head(stored, encoding, headers)
        return Response(await self._body(stored, encoding), headers=headers, media_type=JSON)

    async def _range(self, stored: StoredResult, part: ByteRange, headers: dict[str, str]) -> Response:
        body = (await self.raw(stored))[part.first : part.last + 1]
        headers["Content-Range"] = part.content_range
        return Response(body, status_code=206, headers=headers, media_type=JSON)

    async def _body(self, stored: StoredResult, encoding: Encoding) -> bytes:
        def work() -> bytes:
            bodies = self._store.bodies
            match encoding:
                case Encoding.ZSTD:
                    return bodies.encoded(stored)
                case Encoding.GZIP:
                    # mtime=0: the same result gives the same bytes.
                    return gzip.compress(bodies.raw(stored), GZIP_LEVEL, mtime=0)
                case Encoding.IDENTITY:
                    return bodies.raw(stored)

        return await to_thread.run_sync(work, limiter=self._heavy)


def _headers(stored: StoredResult, encoding: Encoding) -> dict[str, str]:
    return {"ETag": entity_tag(stored.digest, encoding), "Vary": "Accept-Encoding", "Accept-Ranges": "bytes"}


def _head(stored: StoredResult, encoding: Encoding, headers: Mapping[str, str]) -> Response:
    sizes = {Encoding.IDENTITY: stored.size, Encoding.ZSTD: stored.encoded_size}
    response = Response(headers=headers, media_type=JSON)
    if encoding in sizes:
        response.headers["Content-Length"] = str(sizes[encoding])
    else:  # the size is known only after encoding
        del response.headers["Content-Length"]
    return response
