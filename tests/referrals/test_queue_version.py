"""The version of an organisation's lists.

The version changes with every change in the lists, and never with a change that the organisation
may not see.
"""

from datetime import timedelta

from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import plans_pb2
from tests.referrals.conftest import Client, Service, Story, send_request


def version(client: Client) -> str:
    return str(client.GetQueueVersion().version)


def versions(story: Story) -> dict[str, str]:
    return {
        "ngo": version(story.ngo),
        "shelter": version(story.shelter),
        "clinic": version(story.service.as_("clinic", "WORKER")),
        "network": version(story.coordinator),
    }


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def test_a_draft_changes_only_its_senders_version_and_sending_it_changes_every_readers_version(
    story: Story,
) -> None:
    before = versions(story)
    draft = story.draft()
    versions_with_draft = versions(story)
    assert changed(before, versions_with_draft) == {"ngo"}
    story.ngo.SendReferral(send_request(draft, story.receipt(draft.person_id).id))
    assert changed(versions_with_draft, versions(story)) == {"ngo", "shelter", "network"}


def test_a_fired_deadline_changes_the_version_and_the_mere_passing_of_time_does_not(
    story: Story,
) -> None:
    story.sent()
    before = versions(story)
    story.service.clock.advance(timedelta(seconds=1))
    assert versions(story) == before
    story.service.fire_after(timedelta(days=3))
    assert changed(before, versions(story)) == {"ngo", "shelter", "network"}


def test_a_contact_and_a_callback_change_only_the_version_of_their_own_line(story: Story) -> None:
    operator = story.service.as_("hotline", "OPERATOR")
    line_version, other_versions = version(operator), versions(story)
    created = story.contact()
    assert (version(operator) != line_version, versions(story)) == (True, other_versions)
    line_version = version(operator)
    operator.CreateCallback(
        callback=c.Callback(
            contact_id=created.contact.id,
            day_code=c.DAY_BAND_TOMORROW,
            hour_code=c.HOUR_BAND_EVENING,
        )
    )
    assert (version(operator) != line_version, versions(story)) == (True, other_versions)


def test_a_plan_changes_only_the_version_of_its_own_organisation(story: Story) -> None:
    person, before = story.person(), versions(story)
    plan = story.ngo.CreatePlan(person_id=person.id, pathway_id="child")
    first_versions = versions(story)
    assert changed(before, first_versions) == {"ngo"}
    story.ngo.UpdatePlanStep(
        id=plan.id, etag=plan.etag, step_key="care", state=plans_pb2.PLAN_STEP_STATE_MET
    )
    assert changed(first_versions, versions(story)) == {"ngo"}


def test_a_change_that_began_first_but_committed_last_is_seen(story: Story) -> None:
    """The second change is dated before the first, which was already seen."""
    earlier, later = story.sent(), story.sent()
    story.service.clock.advance(timedelta(seconds=2))
    story.shelter.AcknowledgeReferral(id=later.id, etag=later.etag)
    before = versions(story)
    story.service.clock.advance(timedelta(seconds=-1))
    story.shelter.AcknowledgeReferral(id=earlier.id, etag=earlier.etag)
    assert changed(before, versions(story)) == {"ngo", "shelter", "network"}


def watched_versions(service: Service, *tokens: str) -> list[str]:
    """Returns the versions that anybody with these watch tokens gets."""
    return list(service.public().BatchGetQueueVersions(watch_tokens=tokens).versions)


def watch_token(client: Client) -> str:
    return str(client.GetQueueVersion().watch_token)


def test_one_call_with_many_watch_tokens_returns_the_version_of_each(story: Story) -> None:
    story.sent()
    clients = (story.ngo, story.shelter, story.service.as_("clinic", "WORKER"), story.coordinator)
    tokens = [watch_token(client) for client in clients]
    before = watched_versions(story.service, *tokens, tokens[0])
    assert before == [*(version(client) for client in clients), version(story.ngo)]
    story.draft()
    after = watched_versions(story.service, *tokens, tokens[0])
    changes = [old != new for old, new in zip(before, after, strict=True)]
    assert changes == [True, False, False, False, True]


def test_a_watch_token_is_valid_for_a_minute_and_a_forged_one_never(story: Story) -> None:
    own_token, their_token = watch_token(story.ngo), watch_token(story.shelter)
    story.service.clock.advance(timedelta(seconds=59))
    forged = [
        own_token[:-1] + ("A" if own_token[-1] != "A" else "B"),
        their_token[:22] + own_token[22:],
        "x",
        "=",
    ]
    assert watched_versions(story.service, *forged, own_token) == [""] * 4 + [version(story.ngo)]
    story.service.clock.advance(timedelta(seconds=1))
    assert watched_versions(story.service, own_token) == [""]
