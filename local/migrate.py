"""Brings the database of ENLACE_MIGRATION_URL up to date: `python -m local.migrate FOLDER…`, with
the folders of the migrations.

Does the same as `python -m services.NAME migrate` without loading the service, which takes a second
of processor time at each start of the stack.
"""

import os
import sys
from pathlib import Path

import click

from chassis.db import migrate

if __name__ == "__main__":
    click.echo(
        migrate(
            os.environ["ENLACE_MIGRATION_URL"], [Path(folder) for folder in sys.argv[1:]]
        ).strip()
    )
