"""Referrals: people, contacts of the line, consents, and the requests made for them.

Owns: persons (identity sealed per person), consent receipts, contacts with reference and PIN,
referrals with their clocks and history. Says: enlace.referrals.v1 (ReferralFact, ContactFact,
ReceiptFact). Hears: enlace.partners.v1, to know members and services. Limit: it tells nobody
anything; that is the notifications service, which hears the facts.
"""
