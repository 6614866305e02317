"""Signing secret of an API key's webhooks: derived from the pepper, stored nowhere.

`python -m explaind_jobs.keys.webhook_secret [KEY_ID]` prints it, for the receiver's configuration.
"""

import base64
import hashlib
import hmac

import click
from pydantic import ValidationError

from explaind.webhooks import SECRET_PREFIX
from explaind_jobs.keys.pepper import PepperError, load_pepper
from explaind_jobs.settings import JobsSettings, settings_mistake


def webhook_secret(pepper: bytes, key_id: str) -> str:
    """The signing secret of an API key; jobs submitted without a key use the id ""."""
    derived = hmac.digest(pepper, b"webhook:" + key_id.encode(), hashlib.sha256)
    return SECRET_PREFIX + base64.b64encode(derived).decode()


@click.command()
@click.argument("key_id", default="")
def command(key_id: str) -> None:
    """Print the secret that signs the webhooks of jobs submitted with the API key KEY_ID (or with none).

    It needs the pepper of the service: the same EXPLAIND_DATA_DIR, or EXPLAIND_PEPPER.
    """
    try:
        click.echo(webhook_secret(load_pepper(JobsSettings()), key_id))
    except ValidationError as error:
        raise click.ClickException(settings_mistake(error)) from error
    except PepperError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    command()
