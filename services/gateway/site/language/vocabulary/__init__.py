"""The tables of Spanish words that `words` looks up, one file per subject.

A form offers the codes in the order of their table.
"""

from protos.areas import DEPARTMENTS
from services.gateway.site.language.vocabulary import (
    audit,
    enquiry,
    forms,
    line,
    network,
    person,
    plans,
    referral,
    steps,
)
from services.gateway.site.language.vocabulary.steps import STEPS

TABLES: dict[str, dict[str, str]] = {}
for _part in (steps, referral, person, line, network, enquiry, plans, audit, forms):
    for _kind, _words in _part.TABLES.items():  # several files may hold parts of one table
        TABLES.setdefault(_kind, {}).update(_words)

__all__ = ["DEPARTMENTS", "STEPS", "TABLES"]
