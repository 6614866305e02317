"""A real Valkey that is there and refuses to work, for a while, in each of the ways in which servers do."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import redis

PATIENCE_S = 20.0


@contextmanager
def refusing(client: redis.Redis, code: str) -> Iterator[None]:
    """Within this context the server refuses with that code."""
    with _WAYS[code](client):
        yield


def _configured(**options: object) -> Callable[[redis.Redis], contextlib.AbstractContextManager[None]]:
    @contextmanager
    def way(client: redis.Redis) -> Iterator[None]:
        names = [name.replace("_", "-") for name in options]
        before = cast("dict[str, str]", client.config_get(*names))
        for name, value in zip(names, options.values(), strict=True):
            client.config_set(name, value)  # type: ignore[arg-type]
        try:
            yield
        finally:
            for name, value in before.items():
                client.config_set(name, value)

    return way


@contextmanager
def _no_rights(client: redis.Redis) -> Iterator[None]:
    client.execute_command("ACL", "SETUSER", "default", "-@write")
    try:
        yield
    finally:
        client.execute_command("ACL", "SETUSER", "default", "+@all")


@contextmanager
def _replica(client: redis.Redis) -> Iterator[None]:
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        client.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def _lonely_replica(client: redis.Redis) -> Iterator[None]:
    with _configured(replica_serve_stale_data="no")(client), _replica(client):
        yield


@contextmanager
def _broken_disk(client: redis.Redis) -> Iterator[None]:
    """The last snapshot failed: in the place of its file there is a directory."""
    config = cast("dict[str, str]", client.config_get("dir", "dbfilename"))
    file = Path(config["dir"], config["dbfilename"])
    file.unlink(missing_ok=True)
    file.mkdir()
    client.config_set("save", "3600 1000000")
    try:
        client.bgsave()
        _until(lambda: cast("dict[str, str]", client.info("persistence"))["rdb_last_bgsave_status"] == "err")
        yield
    finally:
        client.config_set("save", "")
        file.rmdir()


@contextmanager
def _endless_script(client: redis.Redis) -> Iterator[None]:
    def run() -> None:
        with (
            contextlib.suppress(redis.RedisError),
            client.__class__(
                connection_pool=redis.ConnectionPool(
                    connection_class=client.connection_pool.connection_class,
                    **client.connection_pool.connection_kwargs,
                )
            ) as other,
        ):
            other.eval("while true do end", 0)

    def busy() -> bool:
        try:
            client.ping()
        except redis.ResponseError as error:
            return str(error).startswith("BUSY")
        return False

    with _configured(busy_reply_threshold=1)(client):
        thread = threading.Thread(target=run)
        thread.start()
        try:
            _until(busy)
            yield
        finally:
            client.script_kill()
            thread.join()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the server does not come into the state"
        time.sleep(0.005)


_WAYS: dict[str, Callable[[redis.Redis], contextlib.AbstractContextManager[None]]] = {
    "MISCONF": _broken_disk,
    "OOM": _configured(maxmemory=1),
    "NOPERM": _no_rights,
    "NOREPLICAS": _configured(min_replicas_to_write=1),
    "READONLY": _replica,
    "MASTERDOWN": _lonely_replica,
    "BUSY": _endless_script,
}
REFUSALS = sorted(_WAYS)
