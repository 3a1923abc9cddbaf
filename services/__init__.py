"""The network's software: four services that know of each other only what `protos/` defines.

`partners` has the directory and its members, `referrals` has the people, enquiries and referrals,
and `notifications` decides who is notified, and how. Each of these has a database of its own,
publishes its facts to Kafka, and answers calls by gRPC. `gateway` serves pages and REST by HTTP,
and has no database. `python -m services` runs all four on one machine, with PostgreSQL and a
broker; `python -m services.NAME serve` runs one service.
"""
