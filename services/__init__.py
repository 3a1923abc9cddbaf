"""The network's software: four processes that know of each other only what `protos/` says.

`partners` is the directory and its members, `referrals` the people, enquiries and referrals,
`notifications` who is told what and how; each has a database of its own, says its facts over Kafka
and answers over gRPC. `gateway` is the only HTTP: pages and REST, no database. `python -m services`
runs the local stack, everything on one machine, with PostgreSQL and a broker brought along; `python
-m services.NAME serve` one.
"""
