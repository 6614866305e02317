"""`explaind keys`: create, list and revoke API keys in the service's Redis."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.table import Table
from rich.text import Text

from explaind.cli.help import Group
from explaind.cli.session import output
from explaind.views.drawing.text import one_line
from explaind_jobs.keys import scripts
from explaind_jobs.keys.cli_context import KeyStore, place_of_keys
from explaind_jobs.keys.cli_types import Duration, Rate, usual_burst
from explaind_jobs.keys.create import IssuedKey, issue_key
from explaind_jobs.keys.key_format import id_of, mark_of
from explaind_jobs.keys.pepper import PepperError
from explaind_jobs.keys.records import ApiKey, Scope
from explaind_jobs.store.records import Allowance

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

MAX_NAME = 100
_STATES = {"active": "green", "expired": "dim", "revoked": "red"}
_place_options = (
    click.option("--redis-url", envvar="EXPLAIND_REDIS_URL", show_envvar=True, help="The Redis of a deployment."),
    click.option(
        "--data-dir",
        envvar="EXPLAIND_DATA_DIR",
        show_envvar=True,
        type=click.Path(path_type=Path, file_okay=False),
        help="Where `explaind up` runs, and where the pepper is [default: explaind-data].",
    ),
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout.")
_limit = click.IntRange(1, 1_000_000)


def _placed(command: CommandT) -> CommandT:
    for option in _place_options:
        command = option(command)
    return command


def _named(ctx: click.Context, param: click.Parameter, value: str) -> str:
    name = value.strip()
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise click.BadParameter(f"A name has 1 to {MAX_NAME} printable characters.", ctx, param)
    return name


def _scoped(ctx: click.Context, param: click.Parameter, value: str) -> frozenset[Scope]:
    try:
        return frozenset(Scope(word.strip()) for word in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"The scopes are {', '.join(Scope)}; write them with commas.", ctx, param) from error


def _identified(ctx: click.Context, param: click.Parameter, value: str) -> str:
    key_id = id_of(value.strip())
    if key_id is None:  # not quoted: it may be a mistyped key
        raise click.BadParameter("This is no key's id: `explaind keys list` shows them.", ctx, param)
    return key_id


@click.command(cls=Group)
def keys() -> None:
    """Make, list and revoke the API keys of a service. From the first key on, every caller must show one."""


@keys.command()
@click.option("--name", required=True, callback=_named, help="Whose or what for; to tell keys apart.")
@click.option(
    "--scopes",
    default="read,write",
    show_default=True,
    callback=_scoped,
    help="read (own jobs, models), write (submit, cancel, delete), metrics, admin (everything, everybody's jobs).",
)
@click.option("--expires", "lifetime_s", type=Duration(), help="How long it works.  [default: until it is revoked]")
@click.option("--rate", type=Rate(), help="How many jobs it may submit in a time.  [default: no limit]")
@click.option("--burst", type=_limit, help="How many of them at once.  [default: those of ten seconds]")
@click.option("--max-running", type=_limit, help="How many of its jobs run at a time.  [default: no limit]")
@click.option("--max-queued", type=_limit, help="How many of its jobs may wait in a queue.  [default: no limit]")
@click.option("--replace-pepper", is_flag=True, help="Give up the keys that were made with another pepper.")
@_json_option
@_placed
def create(as_json: bool, redis_url: str | None, data_dir: Path | None, **wish: Any) -> None:
    """Make a key. It is written to stdout, once; only a code is stored, from which it cannot be recovered."""
    allowance = _allowance(wish.pop("rate"), wish.pop("burst"), wish.pop("max_queued"), wish.pop("max_running"))
    with place_of_keys(redis_url, data_dir) as place:
        first = not place.store.run(scripts.look_up("")).asked_for
        issued = issue_key(place.store, place.pepper(), allowance=allowance, **wish)
    _show_issued(issued, first=first, as_json=as_json)


@keys.command("list")
@_json_option
@_placed
def list_keys(as_json: bool, redis_url: str | None, data_dir: Path | None) -> None:
    """List the keys, the ended ones too."""
    with place_of_keys(redis_url, data_dir) as place:
        found = place.store.run(scripts.look_at_all()).found
    if as_json:
        click.echo(json.dumps({"data": [_facts(key) for key in found]}, indent=2))
        return
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for head in ("id", "name", "state", "scopes", "created", "expires", "limits"):
        table.add_column(head, no_wrap=head == "id")
    for key in found:
        table.add_row(
            key.id,
            Text(one_line(key.name), style="bold"),
            Text(key.state, style=_STATES[key.state]),
            ", ".join(sorted(key.scopes)),
            _day(key.created_at),
            _day(key.expires_at),
            _limits(key.allowance),
        )
    output().print(table)


@keys.command()
@click.argument("key_id", metavar="ID", callback=_identified)
@_placed
def revoke(key_id: str, redis_url: str | None, data_dir: Path | None) -> None:
    """End a key for good. It stops working within a second; the jobs that it submitted go on."""
    with place_of_keys(redis_url, data_dir) as place:
        outcome = place.store.run(scripts.revoke(key_id))
    if outcome == "unknown":
        raise click.ClickException(_unknown(key_id))
    click.echo(f"{key_id} {'is revoked' if outcome == 'revoked' else 'was revoked already'}.")


@keys.command("webhook-secret")
@click.argument("key_id", metavar="ID", callback=_identified)
@_placed
def show_webhook_secret(key_id: str, redis_url: str | None, data_dir: Path | None) -> None:
    """Write the secret that signs the webhooks of a key's jobs."""
    # Imported here, since only this command needs it.
    from explaind_jobs.keys.webhook_secret import webhook_secret  # noqa: PLC0415

    with place_of_keys(redis_url, data_dir) as place:
        pepper = _pepper_of(place, key_id)
    click.echo(webhook_secret(pepper, key_id))


def _allowance(rate: int | None, burst: int | None, max_queued: int | None, max_running: int | None) -> Allowance:
    if burst is not None and rate is None:
        raise click.UsageError("--burst says how much of a --rate may come at once: give both.")
    return Allowance(rate or 0, burst or usual_burst(rate or 1), max_queued or 0, max_running or 0)


def _pepper_of(place: KeyStore, key_id: str) -> bytes:
    """The pepper with which that key was made."""
    known = place.store.run(scripts.look_up(key_id))
    if not known.found:
        raise click.ClickException(_unknown(key_id))
    pepper = place.pepper()
    if known.mark != mark_of(pepper):
        raise PepperError(scripts.OTHER_PEPPER)
    return pepper


def _show_issued(issued: IssuedKey, *, first: bool, as_json: bool) -> None:
    key = issued.record
    if as_json:
        click.echo(json.dumps({"key": issued.key, **_facts(key)}, indent=2))
        return
    until = f"until {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else "until it is revoked"
    limits = _limits(key.allowance)
    click.echo(
        f"Key {key.id} ({one_line(key.name)}) for {', '.join(sorted(key.scopes))}, {until}"
        f"{f'; {limits}' if limits else ''}.\n"
        "This is the only time that it is shown. Keep it as EXPLAIND_API_KEY, where the SDK and the command line "
        "look for it, or send it as `Authorization: Bearer …`:",
        err=True,
    )
    click.echo(issued.key)
    if first:
        click.echo("From now on the service asks every caller for a key.", err=True)


def _facts(key: ApiKey) -> dict[str, Any]:
    """The displayed fields of a key: all but its MAC."""
    limits = key.allowance
    return {
        "id": key.id,
        "name": key.name,
        "state": key.state,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
        "requests_per_minute": limits.requests_per_minute or None,
        "burst": limits.burst if limits.requests_per_minute else None,
        "max_running": limits.max_running or None,
        "max_queued": limits.max_queued or None,
    }


def _limits(allowance: Allowance) -> str:
    parts = []
    if allowance.requests_per_minute:
        parts.append(f"{allowance.requests_per_minute}/min, {allowance.burst} at once")
    if allowance.max_running:
        parts.append(f"{allowance.max_running} running")
    if allowance.max_queued:
        parts.append(f"{allowance.max_queued} waiting")
    return ", ".join(parts)


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment is not None else "–"


def _unknown(key_id: str) -> str:
    return f"No key has the id {key_id}: `explaind keys list` shows them."
