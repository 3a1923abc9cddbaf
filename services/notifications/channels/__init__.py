"""The ways out: webhooks by HTTP, e-mail by SMTP, or an outbox that keeps e-mails to be looked
at.
"""
