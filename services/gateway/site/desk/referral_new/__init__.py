"""A new referral, one page a question: what is needed, how soon, about her, how to reach her, which
service; her consent; a last look, and send.

`questions` asks for what is not known yet, up to the service. From then on a draft lives at the
referrals service, and `drafts` asks anew what is changed.
"""

from services.gateway.site.desk.referral_new import check, consent, drafts, questions
from services.gateway.site.desk.referral_new.pages import pages

__all__ = ["check", "consent", "drafts", "pages", "questions"]
