"""The pages of a new referral, declared in one blueprint."""

from services.gateway.site.shell import access

pages = access.Pages("referral_new")
