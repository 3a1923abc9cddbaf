"""Migrates the database at ENLACE_MIGRATION_URL: `python -m local.migrate FOLDER…`, with the
folders of the migrations.

Does the same as `python -m services.NAME migrate`, but does not load the service, which would take
a second of processor time at each start of the stack.
"""

import os
import sys
from pathlib import Path

import click

from chassis.migrate import migrate

if __name__ == "__main__":
    click.echo(
        migrate(
            os.environ["ENLACE_MIGRATION_URL"], [Path(folder) for folder in sys.argv[1:]]
        ).strip()
    )
