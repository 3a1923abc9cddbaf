"""Compares the refusals in a test run with the refusals that the .proto files declare.

`python -m tests.refusals` runs after the tests. Each process of pytest writes the refusals of its
servers to a file. The comparison fails if an rpc refuses with a reason that it does not declare, or
declares a reason that no test has provoked. Limitation: only servers inside the tests' own
processes are counted, not those of a local stack.
"""

import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from google.protobuf.descriptor import MethodDescriptor
from prometheus_client import REGISTRY

from chassis import contract
from protos.stubs import SERVICES

FOLDER = Path(__file__).resolve().parents[1] / "var" / "refusals"
METHODS = {
    f"{service.full_name}/{method.name}": method
    for service in SERVICES
    for method in service.methods
}
Provoked = set[tuple[str, str]]


def forget() -> None:
    """Deletes the counts before a run."""
    shutil.rmtree(FOLDER, ignore_errors=True)


def write_refusals() -> None:
    """Writes the refusals of this process to a file, at the end of the process."""
    counted = [
        sample.labels
        for metric in REGISTRY.collect()
        if metric.name == "enlace_refusals"
        for sample in metric.samples
    ]
    refused = sorted({(labels["method"], labels["reason"]) for labels in counted})
    if refused:
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / f"{uuid4().hex}.json").write_text(json.dumps(refused))


def provoked() -> Provoked:
    """Returns the refusals of all processes."""
    return {
        (method, reason)
        for file in FOLDER.glob("*.json")
        for method, reason in json.loads(file.read_text())
    }


def undeclared(refused: Provoked, methods: dict[str, MethodDescriptor]) -> Iterable[str]:
    """Returns the refusals that their rpcs do not declare."""
    return sorted(
        f"{name}: {reason}"
        for name, reason in refused
        if name in methods and reason not in contract.refusals(methods[name])
    )


def unprovoked(refused: Provoked, methods: dict[str, MethodDescriptor]) -> Iterable[str]:
    """Returns the declared refusals that no test has provoked."""
    declared = {
        (name, reason)
        for name, method in methods.items()
        for reason in contract.rules(method).refusals
    }
    return sorted(f"{name}: {reason}" for name, reason in declared - refused)


def main() -> int:
    """Prints both lists; returns 0 if both are empty."""
    refused = provoked()
    wrong = [f"undeclared {line}" for line in undeclared(refused, METHODS)] + [
        f"never provoked {line}" for line in unprovoked(refused, METHODS)
    ]
    print(
        "\n".join(wrong)
        or f"{len(refused)} ways of refusing, all declared; every declared one was provoked"
    )
    return 1 if wrong or not refused else 0


if __name__ == "__main__":
    sys.exit(main())
