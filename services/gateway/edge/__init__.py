"""What every request needs, whoever asks: the HTTP server, limits, cookies, the way to the services, refusals as problem+json, probes.

It makes an application that answers only the probes; `api` and `site` add theirs to it.
"""
