"""Where messages, deliveries, webhooks, desks and members are kept.

The only SQL of this service.
"""
