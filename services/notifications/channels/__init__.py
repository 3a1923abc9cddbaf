"""The ways out of the house: webhooks by HTTP, e-mail by SMTP, or an outbox that keeps e-mails to be looked at."""
