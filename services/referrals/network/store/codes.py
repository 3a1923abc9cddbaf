"""Finds rows by the short code of their id."""

from services.referrals.network.domain.codes import beginnings_of


def code_condition(code: str) -> tuple[str, dict[str, str]]:
    """Returns the SQL condition for ids with a short code, and its values.

    No id meets the condition for an invalid code. The condition consists of ranges: under row-level
    security an index on a function of a column is not used. "g" sorts after every hexadecimal
    digit.
    """
    values = {f"begin{n}": beginning for n, beginning in enumerate(beginnings_of(code))}
    ranges = [f"(id >= %({name})s AND id < %({name})s || 'g')" for name in values]
    return f"({' OR '.join(ranges) or 'false'})", values
