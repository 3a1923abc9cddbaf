"""The stores of messages, deliveries, webhooks, desks and members: the only SQL of this service."""
