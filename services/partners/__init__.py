"""Partners: members, their services and room, their workers, and how callers prove who they are.

Owns organisations, services with their capacity, workers, sessions and API keys. Only this service
signs caller tokens. Publishes enlace.partners.v1 (protos/partners/v1/facts.proto). Subscribes to
enlace.referrals.v1: updates a service's room figure when a person is taken in or leaves, and marks
the figure as doubtful when the service's own organisation declines a referral or an enquiry for
lack of room.
Stores the address of a confidential place only sealed, and nothing about the people who are helped
except the number of places that a referral takes. Two people must approve a member, with evidence.
Attempts to sign in are limited for each e-mail address and for each IP address.
"""
