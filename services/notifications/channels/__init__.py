"""The outgoing channels: webhooks by HTTP and e-mail by SMTP.

In development, e-mails may be written to a folder instead, where they can be read.
"""
