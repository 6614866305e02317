"""Settings shared by service and worker, read from the environment (prefix `EXPLAIND_`)."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import ByteSize, Field, SecretStr, TypeAdapter, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

LogFormat = Literal["auto", "text", "json"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

MIB = 1 << 20
SMALLEST_MEMORY, LARGEST_MEMORY = 1 << 20, 1 << 63
SCHEMES = ("redis://", "rediss://", "unix://")
RESULTS_SCHEMES = ("file:///", "s3://")


def settings_mistake(error: ValidationError) -> str:
    """The first settings error, in one sentence that names the variable."""
    first = error.errors()[0]
    field = "_".join(str(part) for part in first["loc"])
    return f"{field} (EXPLAIND_{field.upper()}): {first['msg'].removeprefix('Value error, ')}"


def read_password(path: Path) -> str:
    """The password in that file, stripped of whitespace.

    Raises:
        ValueError: the file cannot be read, or is empty.
    """
    try:
        password = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}. It must hold the password of Redis.") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8. It must hold the password of Redis.") from error
    if not password:
        raise ValueError(f"{path} is empty. It must hold the password of Redis.")
    return password


class JobsSettings(BaseSettings):
    """Redis, storage and time limits; durations are in seconds.

    `redis_url` is None only until the embedded stack has started a server.
    """

    model_config = SettingsConfigDict(env_prefix="EXPLAIND_", extra="ignore", env_ignore_empty=True)

    redis_url: str | None = Field(default=None, description="redis://, rediss:// or unix://path?db=0.")
    redis_password_file: Path | None = Field(default=None, description="Holds the password that the URL leaves out.")
    data_dir: Path = Field(default=Path("explaind-data"), description="Locks, logs and the embedded server's data.")
    pepper: SecretStr | None = Field(
        default=None,
        description="32 random bytes in base64, mixed into what is derived from API keys; else a file in the data dir.",
    )
    models_file: Path | None = Field(default=None, description="The models.toml; without one: the built-in model.")
    store_timeout_s: float = Field(
        default=2.0, gt=1, description="Seconds the HTTP service waits for an answer of Redis; then it answers 503."
    )
    key_prefix: str = Field(default="explaind:", min_length=1, description="Every key in Redis begins with it.")
    lease_s: float = Field(
        default=30.0, gt=0, description="Seconds after the last heartbeat of its worker until a job is requeued."
    )
    heartbeat_s: float = Field(
        default=10.0, gt=0, description="Seconds between two heartbeats of a worker; well under the lease."
    )
    job_ttl_s: int = Field(default=86_400, ge=1, description="A job's record and result live so long after its end.")
    max_job_ttl_s: int = Field(default=7 * 86_400, ge=1, description="The longest that a request may ask for.")
    queue_ttl_s: int = Field(default=86_400, ge=1, description="A job that no worker takes for so long expires.")
    max_queued: int = Field(default=10_000, ge=1, description="More waiting jobs than this are refused.")
    max_queued_bytes: ByteSize = Field(
        default=ByteSize(256 * MIB), ge=1024, description='More bytes of waiting requests are refused: "256MiB".'
    )
    max_queued_bytes_per_key: ByteSize = Field(
        default=ByteSize(64 * MIB), ge=1024, description='The same for the requests of one API key: "64MiB".'
    )
    max_losses: int = Field(default=3, ge=1, description="A job whose worker was lost so often fails.")
    suspect_patience_s: float = Field(
        default=10.0, ge=0, description="A job whose worker died gets an idle worker reserved after so long."
    )
    affinity_s: float = Field(
        default=20.0, ge=0, description="A job whose model a worker holds counts as so much older to it."
    )
    deadline_s: float = Field(default=3600.0, gt=0, description="A job that runs longer is stopped.")
    deadline_grace_s: float = Field(default=30.0, ge=0, description="One that still runs then costs its worker.")
    drain_grace_s: float = Field(default=20.0, ge=0, description="How long a stopping worker lets its jobs run on.")
    results_url: str | None = Field(
        default=None, description="Large results: file:///directory or s3://bucket/prefix; without one: data_dir."
    )
    results_options: dict[str, Any] = Field(
        default_factory=dict, repr=False, description="For the bucket's file system (fsspec), as a JSON object."
    )
    inline_result_bytes: int = Field(
        default=262_144, ge=0, le=16_777_216, description="Results up to this, compressed, stay in Redis."
    )
    dataset_bytes: ByteSize = Field(
        default=ByteSize(64 * MIB), ge=1024, le=1 << 30, description='Larger datasets are refused: "64MiB".'
    )
    artifact_bytes: ByteSize = Field(
        default=ByteSize(2048 * MIB), ge=1024, description='A job that leaves a larger artifact fails: "2GiB".'
    )
    max_files: int = Field(
        default=100, ge=1, description="Most datasets, and most artifacts, that one API key may keep."
    )

    log_format: LogFormat = Field(default="auto", description="auto: text on a terminal, JSON anywhere else.")
    log_level: LogLevel = Field(default="INFO", description="Of our own lines; those of libraries begin at WARNING.")
    telemetry: bool = Field(default=False, description="Export traces as OTEL_* says; never bodies or messages.")
    memory_bytes: int | float | None = Field(
        default=None, description='Memory for models and work per device: "12GiB", or a fraction of it, "0.9".'
    )

    redis_memory_bytes: int | float = Field(
        default=0.1,
        description=(
            "What the Redis of `explaind up` may fill: a size, or a fraction of the machine's memory; "
            "full, it refuses new jobs."
        ),
    )

    @field_validator("memory_bytes", "redis_memory_bytes", mode="before")
    @classmethod
    def _bytes_or_fraction(cls, given: object) -> int | float | None:
        if given is None:
            return None
        try:
            number = float(str(given))
        except ValueError:
            number = float(TypeAdapter(ByteSize).validate_python(given))
        if 0 < number <= 1:
            return number
        if not SMALLEST_MEMORY <= number < LARGEST_MEMORY:
            raise ValueError('Write a size with its unit, at least "1MiB", or a fraction between 0 and 1.')
        return int(number)

    @field_validator("redis_url")
    @classmethod
    def _known_scheme(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(SCHEMES):
            raise ValueError(f"A Redis URL begins with one of {', '.join(SCHEMES)}.")
        return url

    @field_validator("redis_password_file")
    @classmethod
    def _one_readable_password(cls, path: Path | None, info: object) -> Path | None:
        url = getattr(info, "data", {}).get("redis_url")
        if path is None or url is None:
            return path
        parts = urlsplit(url)
        if parts.password or "password" in parse_qs(parts.query):
            raise ValueError("The Redis URL holds a password already; give it in one of the two places.")
        read_password(path)
        return path

    @field_validator("results_url")
    @classmethod
    def _known_results_scheme(cls, url: str | None) -> str | None:
        if url is None:
            return None
        if not url.startswith(RESULTS_SCHEMES):
            raise ValueError(f"A store of results begins with one of {', '.join(RESULTS_SCHEMES)}.")
        if url.startswith("s3://") and find_spec("s3fs") is None:
            raise ValueError("S3 needs s3fs: pip install 'explaind[s3]'.")
        return url

    @field_validator("heartbeat_s")
    @classmethod
    def _beats_within_lease(cls, heartbeat_s: float, info: object) -> float:
        lease_s = getattr(info, "data", {}).get("lease_s")
        if lease_s is not None and heartbeat_s * 2 > lease_s:
            raise ValueError(f"The heartbeat ({heartbeat_s:g} s) must fit twice into the lease ({lease_s:g} s).")
        return heartbeat_s
