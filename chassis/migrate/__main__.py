"""Brings the database of ENLACE_MIGRATION_URL up to date by the migrations of the folders that are named."""

import os
import sys
from pathlib import Path

import click

from chassis.db import migrate

if __name__ == "__main__":
    click.echo(migrate(os.environ["ENLACE_MIGRATION_URL"], [Path(folder) for folder in sys.argv[1:]]).strip())
