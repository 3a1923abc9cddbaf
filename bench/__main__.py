"""`python -m bench [PART]`: starts a stack of its own, measures, and prints a table.
`python -m bench compare REV [PART]` measures two commits alternately (bench/compare.py).

Each part waits until the stack is silent and the machine is at rest; it fails if that takes too
long. The figures are written to var/bench.json. If only one part is measured, the file keeps the
figures of the other parts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from bench import (
    compare,
    facts,
    fair,
    growth,
    imports,
    live,
    local_stack,
    overload,
    pages,
    readings,
    rotation,
    search,
    trail,
    transitions,
)
from bench.figures import BY_NAME, Measurement, table
from bench.quiet import MACHINE_AT_REST, wait_for_machine, wait_for_silence
from tests.parts.local_stack import LocalStack

FILE = Path(__file__).resolve().parent.parent / "var" / "bench.json"
# The order matters: the last two parts add many services to the directory, which would change the
# figures of the other parts.
PARTS = {
    "ready": local_stack.measure,
    "transition": transitions.measure,
    "webhook": facts.measure_webhook,
    "page": pages.measure,
    "live": live.measure,
    "relay": facts.measure_relay,
    "trail": trail.measure,
    "rotation": rotation.measure,
    "readings": readings.measure,
    "fair": fair.measure,
    "overload": overload.measure,
    "growth": growth.measure,
    "import": imports.measure,
    "search": search.measure,
}


@click.command(
    help=(
        f"Measure the stack on this machine. PART is one of {', '.join(PARTS)};"
        " all if none is named. `compare REV [PART]` measures two commits alternately."
    )
)
@click.argument("part", type=click.Choice(list(PARTS)), required=False)
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=FILE,
    help="Write the figures to this file, as JSON.",
)
@click.option(
    "--at-rest",
    default=MACHINE_AT_REST,
    show_default=True,
    help="Highest percentage of processor time that may be in use when a part starts.",
)
def main(part: str | None, file: Path, at_rest: float) -> None:
    stack, measurements = LocalStack(), list[Measurement]()
    try:
        stack.start()
        for name in [part] if part else PARTS:
            click.echo(f"{name} …", err=True)
            wait_for_silence(stack)
            wait_for_machine(at_rest)
            measurements += PARTS[name](stack)
    finally:
        stack.stop()
    write(file, measurements)
    click.echo(table(measurements))
    for measurement in measurements:
        click.echo(f"  {measurement.name}: {measurement.conditions}")


def write(file: Path, measurements: list[Measurement]) -> None:
    """Writes the figures to the file, which keeps the figures of the parts not measured now."""
    stored_figures = json.loads(file.read_text()) if file.exists() else {}
    for measurement in measurements:
        stored_figures[measurement.name] = {
            "value": round(measurement.value, 3),
            "unit": BY_NAME[measurement.name].unit,
            "beside": None if measurement.beside is None else round(measurement.beside, 3),
            "ratio": None if measurement.ratio is None else round(measurement.ratio, 3),
            "conditions": measurement.conditions,
        }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(stored_figures, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["compare"]:
        compare.main(sys.argv[2:])
    main()
