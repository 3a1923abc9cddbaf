"""The health check `facts` of a process that answers calls and receives no facts itself."""

from chassis.db import LOST, Database
from chassis.server import Server
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from facts import dead_letters

_EVERY = 15.0  # seconds between two checks


class HeldFacts:
    """Checks whether the service's database has held facts, for the server's health check."""

    def __init__(self, database: Database, server: Server) -> None:
        self._database = database
        self._server = server

    def loop(self) -> Loop:
        """Returns the loop that checks."""
        return Loop("held-facts", self._work, waits_for=LOST)

    def _work(self, loop: Loop) -> None:
        while loop.turn():
            with self._database.transaction(SYSTEM) as tx:
                any_held = dead_letters.any_held(tx)
            self._server.set_status("facts", not any_held)
            loop.wait(_EVERY)
