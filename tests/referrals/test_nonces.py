"""No nonce is used twice with one key.

The data come from many files, notes and changes; planted repeats are found.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.rows import dict_row

from chassis.ids import new_id
from protos.referrals.v1 import people_pb2
from tests.faults import checker
from tests.faults.checker import RunData
from tests.faults.planted import PLANTED
from tests.referrals.conftest import Service, Story


@pytest.fixture
def run_data(service: Service) -> Iterator[RunData]:
    with psycopg.connect(service.migration_url, row_factory=dict_row, autocommit=True) as owner:
        yield RunData(owner, owner, owner, (), (), datetime.now(UTC))


def test_every_sealed_value_has_its_own_nonce_and_a_reused_one_is_detected(
    story: Story, run_data: RunData
) -> None:
    for _ in range(15):
        referral = story.accepted()
        for word in ("one", "two"):
            story.ngo.AddNote(id=referral.id, note=word, request_id=new_id())
        person = story.ngo.GetPerson(id=referral.person_id)
        story.ngo.UpdateIdentity(
            id=person.id, etag=person.etag, identity=people_pb2.Identity(given_name="Ana")
        )
        story.contact(note="the same words")
    assert checker.no_nonce_was_used_twice(run_data) == []
    with PLANTED["a nonce used again"].planted_in(run_data) as planted:
        assert len(checker.no_nonce_was_used_twice(planted)) == 15
    assert checker.no_nonce_was_used_twice(run_data) == []
