"""The parts that every request needs: server, limits, credentials, clients, refusals.

Its application answers only the probes; `api` and `site` add their routes to it.
"""
