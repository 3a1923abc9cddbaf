"""The Kafka topic on which the referrals service publishes its facts."""

TOPIC = "enlace.referrals.v1"
