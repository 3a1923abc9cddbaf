"""A new referral, one page per question.

The order is: need, urgency, the person, how to reach her, who or what place is unsafe for her,
service, her consent, a last check, and sending. `questions` asks the questions whose answers are
not known yet, up to the service. From then on, a draft is stored at the referrals service, and
`drafts` lets the worker change each answer.
"""
