"""Notifications: who is told what, over which channel, and whether it arrived.

Owns: the rules of telling, messages, desks' addresses (sealed), webhooks and their secrets
(sealed), deliveries. Says: enlace.notifications.v1 (MessageFact). Hears: enlace.referrals.v1, to
tell; enlace.partners.v1, to know who is in good standing. Limit: it knows ids, codes and constant
texts, no name, no need of a person in words, no place; it calls no other service.
"""
