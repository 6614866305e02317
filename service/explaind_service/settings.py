"""Settings of the service, beside those shared with the workers."""

from ipaddress import ip_network
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from explaind_jobs.settings import JobsSettings

MIB = 1024 * 1024


class ServiceSettings(JobsSettings):
    """Settings of the HTTP service, read from the environment (prefix `EXPLAIND_`) when one is made."""

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    max_body_bytes: int = Field(MIB, ge=1024, description="Larger request bodies are refused.")
    max_wait_s: int = Field(60, ge=0, le=3600, description="Longest wait that `Prefer: wait` and `?wait=` get.")
    max_streams: int = Field(1000, ge=1, description="Most clients that follow a job's events at a time.")
    max_stream_s: float = Field(
        900.0, gt=0, description="A stream of events is closed after so long; clients come back, if they still may."
    )
    ping_s: float = Field(15.0, gt=0, description="A stream of events that says nothing else says so after this.")
    allow_anonymous: bool = Field(False, description="Serve beyond this machine although nobody has to show a key.")
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Names of this service, where no key is asked for: a.example,*.b.example; loopback always is one.",
    )
    access_log: bool = Field(False, description="Log one line per request.")
    receive_s: float = Field(
        30.0,
        gt=0,
        description="A request that has not come in whole after so long is cut off, unless its body comes at 64 KiB/s.",
    )
    drain_s: int = Field(10, ge=0, description="How long a stopping service lets requests finish.")
    webhook_allowed_networks: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Networks (10.0.0.0/8, …) that webhooks may reach although private, by http and any port too.",
    )
    webhook_timeout_s: float = Field(10.0, gt=0, le=60, description="How long a webhook's receiver may take.")

    @field_validator("webhook_allowed_networks", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, list):
            return names
        return [str(ip_network(name.strip())) for name in names if isinstance(name, str) and name.strip()]

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _host_names(cls, value: object) -> object:
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, list):
            return names
        return [name.strip() for name in names if isinstance(name, str) and name.strip()]
