"""The factory: nothing at import, everything from the settings."""

import pytest

from explaind.contract.errors import StoreUnavailable
from explaind_jobs.catalogue import CatalogueError
from explaind_service.app import _telemetry, create_app
from explaind_service.settings import ServiceSettings


def test_two_services_share_nothing(redis_url) -> None:
    one = create_app(ServiceSettings(redis_url=redis_url, max_wait_s=1))
    two = create_app(ServiceSettings(redis_url=redis_url, max_wait_s=2))
    assert (one.state.settings.max_wait_s, two.state.settings.max_wait_s) == (1, 2)


def test_settings_are_read_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLAIND_MAX_WAIT_S", "7")
    monkeypatch.setenv("EXPLAIND_PORT", "9001")
    assert (ServiceSettings().max_wait_s, ServiceSettings().port) == (7, 9001)
    monkeypatch.delenv("EXPLAIND_MAX_WAIT_S")
    assert ServiceSettings().max_wait_s == 60


def test_a_models_file_that_is_not_right(tmp_path) -> None:
    models = tmp_path / "models.toml"
    models.write_text("[models.x]\nsouce = 'a/b'\n")
    with pytest.raises(CatalogueError, match="souce"):
        create_app(ServiceSettings(models_file=models))


async def test_starting_needs_a_redis(client_of) -> None:
    with pytest.raises(StoreUnavailable, match="No Redis is configured"):
        async with client_of(create_app(ServiceSettings(redis_url=None))):
            pass


def test_telemetry_is_off_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    assert not any(_telemetry(ServiceSettings()).values())
    # Logs would carry the values that did not validate: prompts.
    assert _telemetry(ServiceSettings(telemetry=True)).get("logs") is False
