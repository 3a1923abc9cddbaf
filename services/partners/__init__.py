"""Partners: which organisations are members, what they offer and whether there is room, who works
for them, and how callers prove who they are.

Owns: organisations, services with their capacity, workers, sessions, API keys; it alone signs
caller tokens. Says: enlace.partners.v1 (OrganizationFact, ServiceFact, WorkerFact, ApiKeyFact).
Hears: enlace.referrals.v1, to doubt a figure of room when its own organisation declines for lack of
room. Limit: it holds no address of a confidential place and nothing about the people who are
helped. One coordinator approves a member; approval by two different people, with evidence, is still
to come. Attempts to sign in are limited for each e-mail, not for each address they come from.
"""
