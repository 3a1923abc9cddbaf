"""Notifications: chooses recipients, sends over each channel, and records what arrived.

Owns the rules for notices, messages, the addresses of desks (sealed), webhooks and their secrets
(sealed), and deliveries. Publishes enlace.notifications.v1 (MessageFact). Consumes
enlace.referrals.v1 and enlace.partners.v1, to notify and to know which members are in good
standing, and witnesses enlace.erasures.v1.
It knows ids, codes and constant texts, but no name, no place and no description of a person's need.
It calls no other service.
"""
