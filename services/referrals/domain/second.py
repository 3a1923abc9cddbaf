"""The second of two people: the one place that says who is independent of the first."""

from chassis.errors import Conflict


def is_second(actor_id: str, first_id: str) -> bool:
    """Returns whether the actor may agree to something as the second person after the first."""
    return bool(actor_id) and actor_id != first_id


def check_second(actor_id: str, first_id: str) -> None:
    """Refuses an actor who is not independent of the first person."""
    if not is_second(actor_id, first_id):
        raise Conflict("second_person_required")
