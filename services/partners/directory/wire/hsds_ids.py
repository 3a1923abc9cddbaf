"""HSDS ids: UUIDs, which this service stores as the same 128 bits without hyphens."""

from uuid import UUID, uuid5

_NAMESPACE = UUID("6f1d7a0e-3c0b-5a52-9d0e-0c6a7a2f4b11")


def plain_id(text: str) -> str:
    """Returns an id from a file: a UUID without its hyphens, any other id stripped of spaces."""
    try:
        return UUID(text).hex
    except ValueError:
        return text.strip()


def term_id(code: str) -> str:
    """Returns the HSDS id for a code in the taxonomy."""
    return uuid5(_NAMESPACE, f"taxonomy_terms/{code}").hex
