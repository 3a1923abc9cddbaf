"""The topic of this service."""

TOPIC = "enlace.referrals.v1"
