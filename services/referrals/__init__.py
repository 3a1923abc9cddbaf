"""The referrals service: people, contacts of the line, consents, and the requests made for people.

Owns: people (each identity sealed with its own key), consent receipts, contacts with reference and
PIN, referrals with their deadlines and history. Publishes: enlace.referrals.v1 (ReferralFact,
ContactFact, ReceiptFact and others) and enlace.erasures.v1 (ErasureFact). Subscribes to:
enlace.partners.v1, to know members and services. Limitation: this service notifies nobody; the
notifications service does that when it reads the facts.
"""
