"""What service and worker must agree on, read from the environment (prefix `EXPLAIND_`) when asked for."""

from pathlib import Path

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

SCHEMES = ("redis://", "rediss://", "unix://")


def settings_mistake(error: ValidationError) -> str:
    """The first thing wrong with settings, in one sentence that names the variable."""
    first = error.errors()[0]
    field = "_".join(str(part) for part in first["loc"])
    return f"{field} (EXPLAIND_{field.upper()}): {first['msg'].removeprefix('Value error, ')}"


class JobsSettings(BaseSettings):
    """Where the jobs are and how long things may take; durations are seconds.

    `redis_url` is None only until the embedded stack has started a server.
    """

    model_config = SettingsConfigDict(env_prefix="EXPLAIND_", extra="ignore", env_ignore_empty=True)

    redis_url: str | None = Field(default=None, description="redis://, rediss:// or unix://path?db=0.")
    data_dir: Path = Field(default=Path("explaind-data"), description="Locks, logs and the embedded server's data.")
    pepper: SecretStr | None = Field(
        default=None,
        description="32 random bytes in base64, mixed into what is derived from API keys; else a file in the data dir.",
    )
    models_file: Path | None = Field(default=None, description="The models.toml; without one: the built-in model.")
    key_prefix: str = Field(default="explaind:", min_length=1, description="Every key in Redis begins with it.")
    lease_s: float = Field(default=30.0, gt=0, description="So long after its last beat a job is requeued.")
    heartbeat_s: float = Field(default=10.0, gt=0, description="How often a worker beats; well under the lease.")
    job_ttl_s: int = Field(default=86_400, ge=1, description="A job's record and result live so long after its end.")
    max_job_ttl_s: int = Field(default=7 * 86_400, ge=1, description="The longest that a request may ask for.")
    queue_ttl_s: int = Field(default=86_400, ge=1, description="A job that no worker takes for so long expires.")
    max_queued: int = Field(default=10_000, ge=1, description="More waiting jobs than this are refused.")
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

    @field_validator("redis_url")
    @classmethod
    def _known_scheme(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(SCHEMES):
            raise ValueError(f"A Redis URL begins with one of {', '.join(SCHEMES)}.")
        return url

    @field_validator("heartbeat_s")
    @classmethod
    def _beats_within_lease(cls, heartbeat_s: float, info: object) -> float:
        lease_s = getattr(info, "data", {}).get("lease_s")
        if lease_s is not None and heartbeat_s * 2 > lease_s:
            raise ValueError(f"The heartbeat ({heartbeat_s:g} s) must fit twice into the lease ({lease_s:g} s).")
        return heartbeat_s
