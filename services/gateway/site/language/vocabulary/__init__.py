"""The tables of words behind `words`: data, in Spanish, by meaning.

The order of a table is the order in which a form offers its codes.
"""

from services.gateway.edge.departments import DEPARTMENTS
from services.gateway.site.language.vocabulary import (
    audit,
    enquiry,
    forms,
    line,
    network,
    person,
    plans,
    referral,
)
from services.gateway.site.language.vocabulary.referral import STEPS

TABLES: dict[str, dict[str, str]] = {}
for _part in (referral, person, line, network, enquiry, plans, audit, forms):
    for _kind, _words in _part.TABLES.items():  # a table may stand in several files
        TABLES.setdefault(_kind, {}).update(_words)

__all__ = ["DEPARTMENTS", "STEPS", "TABLES"]
