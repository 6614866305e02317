"""The command `python -m tools.planted_faults`; `--help` lists its options."""

import sys
from pathlib import Path
from threading import Lock

import click

from tools.planted_faults.faults import FaultError, all_faults, chosen
from tools.planted_faults.runner import Result, run
from tools.planted_faults.table import lost, markdown, records, write


@click.command()
@click.option("--only", multiple=True, metavar="ID", help="Only this fault; may be given several times.")
@click.option("--area", multiple=True, metavar="AREA", help="Only the faults of this area; several times too.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, help="Runs of pytest at once, each in its own copy.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Where results are kept, run by run.")
@click.option("--resume", is_flag=True, help="Leave out the faults whose results are in the file of --json already.")
@click.option("--against", type=click.Path(exists=True, path_type=Path), help="Results that must not get worse.")
def main(
    *,
    only: tuple[str, ...],
    area: tuple[str, ...],
    jobs: int,
    json_file: Path | None,
    resume: bool,
    against: Path | None,
) -> None:
    """Plant faults in a copy of the checkout and show which of them the tests catch.

    Exit status 1 where a fault is missed (with --against: one that was caught before), 2 where one cannot be planted
    or measured.
    """
    try:
        table = all_faults()
        faults = chosen(table, only, area)
    except FaultError as error:
        raise click.ClickException(str(error)) from error
    order = [fault.id for fault in table]
    if resume and json_file is not None:
        known = records(json_file)
        faults = [fault for fault in faults if fault.id not in known]

    lock = Lock()

    def report(line: str, result: Result | None) -> None:
        with lock:
            click.echo(line, err=True)
            if json_file is not None and result is not None:
                write(json_file, [result], order)

    results = run(faults, jobs, report)
    click.echo(markdown(results))
    for result in results:
        if result.detail:
            click.echo(f"\n{result.id}: {result.outcome}\n{result.detail}", err=True)
    sys.exit(_status(results, against))


def _status(results: list[Result], against: Path | None) -> int:
    if any(result.outcome in {"unplantable", "broken", "red"} for result in results):
        return 2
    if against is None:
        return int(any(result.outcome != "caught" for result in results))
    gone = lost(results, records(against))
    if gone:
        click.echo(f"\nCaught before, and not now: {', '.join(gone)}")
    return int(bool(gone))


if __name__ == "__main__":
    main()
