"""Languages, times and words for the reader."""

from services.gateway.site.language.i18n import _, ngettext

__all__ = ["_", "ngettext"]
