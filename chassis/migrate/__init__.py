"""`python -m chassis.migrate FOLDER…`: what `python -m services.NAME migrate` does, without loading the service, which takes a second of processor time.

For the local stack, which does it for all services at each start. ENLACE_MIGRATION_URL says of which database.
"""
