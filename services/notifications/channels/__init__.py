"""The outgoing channels: webhooks by HTTP and e-mail by SMTP.

In development an outbox stores the e-mails for looking at them.
"""
