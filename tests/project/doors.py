"""A contract for import-linter: only the listed importers may import a module.

import-linter's own `protected` contract states this for one module; this contract is a table of
modules, called doors.
"""

import re
from collections.abc import Iterator
from typing import Any

from importlinter import Contract, ContractCheck, fields, output

Breach = tuple[str, str]


class Doors(Contract):
    """A table whose rows read `module <- importer, importer`.

    A row also covers the module's descendants. `*` in an importer stands for one part of a dotted
    name. The importers' descendants may import the module, too.
    """

    type_name = "doors"
    doors: Any = fields.ListField(subfield=fields.StringField())

    def check(self, graph: Any, verbose: bool) -> ContractCheck:
        """Collects the imports that no row allows."""
        breaches = [breach for row in self.doors for breach in _breaches(graph, str(row))]
        return ContractCheck(kept=not breaches, metadata={"breaches": breaches})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Prints one line for each import."""
        for importer, module in check.metadata["breaches"]:
            output.print_error(f"{importer} is not allowed to import {module}.")


def _breaches(graph: Any, row: str) -> Iterator[Breach]:
    protected_module, importers = row.split(" <- ")
    names = "|".join(re.escape(name).replace(r"\*", r"[^.]+") for name in importers.split(", "))
    allowed = re.compile(rf"(?:{names}|{re.escape(protected_module)})(?:\..+)?")
    protected_modules = [
        name for name in graph.modules if f"{name}.".startswith(f"{protected_module}.")
    ]
    for module in sorted(protected_modules):
        for importer in sorted(graph.find_modules_that_directly_import(module)):
            if not allowed.fullmatch(importer):
                yield importer, module
