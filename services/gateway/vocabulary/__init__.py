"""The tables of words behind `words`: data, in Spanish, by meaning. The order of a table is the order in which a form offers its codes."""

from services.gateway.vocabulary import forms, line, network, person, referral
from services.gateway.vocabulary.departments import DEPARTMENTS

TABLES: dict[str, dict[str, str]] = referral.TABLES | person.TABLES | line.TABLES | network.TABLES | forms.TABLES

__all__ = ["DEPARTMENTS", "TABLES"]
