"""The facts that services publish for each other: written to an outbox with the change that made
them true, published to Kafka in order, and applied by each consumer exactly once.

The package builds on the chassis; nothing in the chassis imports it.
"""
