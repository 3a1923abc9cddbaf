"""Makes the guide's tables that are derived from the contract.

The tables show who may call each rpc, and all reasons for refusals. `make tables` prints them.
"""

from collections.abc import Iterator

from google.protobuf.descriptor import ServiceDescriptor

from chassis import contract
from protos.contract.v1 import contract_pb2
from protos.stubs import SERVICES
from services.gateway.edge.problems import REASONS

# EMERGENCY has no column, because it opens no rpc by itself. The page explains it in a sentence.
_COLUMNS = tuple(
    name.removeprefix("ROLE_")
    for name in contract_pb2.Role.DESCRIPTOR.values_by_name
    if name not in ("ROLE_UNSPECIFIED", "ROLE_EMERGENCY")
)


def rights() -> str:
    """Returns tables for each service as Markdown: its rights and, if it has any, its refusals."""
    return "\n".join(line for service in SERVICES for line in _service(service)) + "\n"


def refusals() -> str:
    """Returns the table of all reasons as Markdown: status, meaning and remedy."""
    rows = (
        f"| `{reason}` | {meaning.status} | {meaning.title} | {meaning.remedy} |"
        for reason, meaning in REASONS.items()
    )
    return (
        "\n".join(
            ["| reason | status | meaning | what to do |", "| --- | --- | --- | --- |", *rows]
        )
        + "\n"
    )


def _service(service: ServiceDescriptor) -> Iterator[str]:
    columns = (*(column.lower() for column in _COLUMNS), "a key with", "on record", "step-up")
    yield from (f"## {service.full_name}", "")
    yield from (f"| rpc | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|")
    for method in service.methods:
        rules = contract.rules(method)
        callers = " | ".join(_yes(column in rules.roles) for column in _COLUMNS)
        yield (
            f"| `{method.name}` |"
            + (
                f" anybody, without a token {'|' * (len(_COLUMNS) + 1)}"
                if rules.public
                else f" {callers} | {f'`{rules.scope}`' if rules.scope else '–'} |"
            )
            + f" {_yes(rules.recorded)} | {_yes(rules.step_up)} |"
        )
    yield ""
    if any(contract.rules(method).refusals for method in service.methods):
        yield from ("| rpc | refuses, beyond the usual, with |", "|---|---|")
        yield from (
            f"| `{method.name}` | {', '.join(f'`{reason}`' for reason in sorted(reasons))} |"
            for method in service.methods
            if (reasons := contract.rules(method).refusals)
        )
        yield ""


def _yes(value: bool) -> str:
    return "yes" if value else "–"
