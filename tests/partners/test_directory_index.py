"""The directory as a process holds it in memory.

Each search and each match uses everything that was committed before it, and nothing is lost while
the directory is read.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from chassis import deadline
from chassis.db import Row, Transaction
from chassis.errors import Late
from chassis.tokens import SYSTEM
from services.partners.directory.store import directory_index, search, search_index
from services.partners.directory.store.directory_index import DirectoryIndex
from services.partners.directory.store.search_index import Hit
from services.partners.directory.usecases.housekeeping import refreshing_index
from services.partners.members.domain.organization import Organization
from tests.partners.scene import Scene
from tests.parts.loops import NEVER, OFTEN, eventually, running

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)


def found_names(scene: Scene, need: str = "MED.PRI") -> list[str]:
    """Returns the names of the services that meet the need; fails if match and search differ."""
    matched = scene.coordinator.MatchServices(need_code=need, country="NI").matches
    searched = scene.coordinator.SearchServices(need_code=need)
    names = sorted(match.service.name for match in matched)
    assert names == [service.name for service in searched.services]
    assert len(names) == searched.total_size
    return names


def meets(need: str) -> str:
    """Returns the SQL that sets this need."""
    return f"need_codes = '{{{need}}}', facets = '{{need:MED,need:{need},country:NI,area:NI-CI}}'"


def test_a_change_counts_from_the_next_query_on(scene: Scene, member: Organization) -> None:
    created = scene.service(member, "Casa", "MED.PRI")
    assert found_names(scene) == ["Casa"]
    scene.suspend(member.id)
    assert found_names(scene) == []
    with scene.database.transaction(SYSTEM) as tx:
        tx.execute(
            f"UPDATE services SET listed = true, {meets('MED.DENT')} WHERE id = %s", (created.id,)
        )
    assert (found_names(scene), found_names(scene, "MED.DENT")) == ([], ["Casa"])
    with scene.database.transaction(SYSTEM) as tx:
        tx.execute("DELETE FROM services WHERE id = %s", (created.id,))
    assert found_names(scene, "MED.DENT") == []


def has_services(index: DirectoryIndex, count: int) -> bool:
    """Returns whether the index has this number of services, without refreshing it."""
    content = index._content
    return content is not None and len(content.search) == count


@pytest.mark.parametrize(("announced", "read_again"), [(True, NEVER), (False, OFTEN)])
def test_the_index_keeps_up_without_queries_even_if_an_announcement_is_lost(
    scene: Scene, announced: bool, read_again: float
) -> None:
    index = DirectoryIndex()
    scene.service(scene.coalition, "Casa 1", "MED.PRI")
    with running(refreshing_index(scene.database, scene.clock, index, read_again=read_again)):
        assert eventually(lambda: has_services(index, 1))
        if announced:
            scene.service(scene.coalition, "Casa 2", "MED.PRI")
        else:
            with scene.owner.transaction(SYSTEM) as tx:
                tx.execute("ALTER TABLE services DISABLE TRIGGER services_change")
                tx.execute("INSERT INTO service_changes VALUES ('gone', pg_current_xact_id(), 1)")
                tx.execute("DELETE FROM services")
                tx.execute("UPDATE service_changes SET changed = pg_current_xact_id(), number = 9")
                tx.execute("ALTER TABLE services ENABLE TRIGGER services_change")
        assert eventually(lambda: has_services(index, 2 if announced else 0))


def test_a_change_by_an_older_transaction_that_ends_later_is_not_missed(scene: Scene) -> None:
    created = scene.service(scene.coalition, "Casa", "MED.PRI")
    assert found_names(scene) == ["Casa"]
    with scene.database.transaction(SYSTEM) as older:
        older.execute("SELECT pg_current_xact_id()")
        with scene.database.transaction(SYSTEM) as tx:
            tx.execute(f"UPDATE services SET {meets('MED.DENT')} WHERE id = %s", (created.id,))
        assert found_names(scene, "MED.DENT") == ["Casa"]
        older.execute(f"UPDATE services SET {meets('MED.MAT')} WHERE id = %s", (created.id,))
        assert found_names(scene, "MED.DENT") == ["Casa"]  # not yet committed
    assert (found_names(scene, "MED.DENT"), found_names(scene, "MED.MAT")) == ([], ["Casa"])


def test_a_directory_that_is_restored_while_a_process_runs_is_read_again(scene: Scene) -> None:
    created = scene.service(scene.coalition, "Casa", "MED.PRI")
    assert found_names(scene) == ["Casa"]
    with scene.owner.transaction(SYSTEM) as tx:
        tx.execute("CREATE TEMP TABLE kept AS SELECT * FROM services")
        tx.execute("TRUNCATE services, service_changes CASCADE")
        tx.execute(f"UPDATE kept SET {meets('MED.DENT')}")
        tx.execute("INSERT INTO services SELECT * FROM kept WHERE id = %s", (created.id,))
        tx.execute("UPDATE service_changes SET changed = '3'")
        tx.execute("DROP TABLE kept")
    assert (found_names(scene), found_names(scene, "MED.DENT")) == ([], ["Casa"])


def test_while_one_caller_reads_very_many_changes_another_waits_within_its_own_deadline(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_index, "_BATCH", 2)
    index = DirectoryIndex()
    original = directory_index._changes
    reading = threading.Event()
    may_go_on = threading.Event()

    def refresh() -> None:
        with scene.database.transaction(SYSTEM) as tx:
            index.refresh(tx, NOW)

    def read_slowly(
        tx: Transaction, seen: int, after: str = "", due: Sequence[str] = ()
    ) -> list[Row]:
        if after:  # the second part of the changes
            reading.set()
            assert may_go_on.wait(20)
        return original(tx, seen, after, due)

    assert not index.is_loaded
    refresh()
    assert index.is_loaded
    for number in range(3):
        scene.service(scene.coalition, f"Casa {number}", "MED.PRI")
    monkeypatch.setattr(directory_index, "_changes", read_slowly)
    first = threading.Thread(target=refresh)
    first.start()
    assert reading.wait(20)
    with deadline.until(time.monotonic() + 0.2), pytest.raises(Late):
        refresh()
    may_go_on.set()
    first.join()
    with scene.database.transaction(SYSTEM) as tx, index.current_content(tx, NOW) as content:
        assert len(content.ranking) == len(content.search) == 3


def test_a_caller_that_waited_for_the_first_reading_sees_what_was_committed_meanwhile(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.service(scene.coalition, "Casa", "MED.PRI")
    index = DirectoryIndex()
    original = directory_index._by_name
    all_read = threading.Event()
    may_go_on = threading.Event()
    second_asks = threading.Event()
    sizes: dict[threading.Thread, int] = {}

    def read_slowly(tx: Transaction, name_key: str, id: str) -> list[Row]:
        rows = original(tx, name_key, id)
        if not rows:  # everything was read, and a service is added
            all_read.set()
            assert may_go_on.wait(20)
        return rows

    def refresh() -> None:
        with scene.database.transaction(SYSTEM) as tx:
            second_asks.set()
            with index.current_content(tx, NOW) as content:
                sizes[threading.current_thread()] = len(content.ranking)

    monkeypatch.setattr(directory_index, "_by_name", read_slowly)
    first, second = threading.Thread(target=refresh), threading.Thread(target=refresh)
    first.start()
    assert all_read.wait(20)
    second_asks.clear()
    second.start()
    assert second_asks.wait(20)
    scene.service(scene.coalition, "Otra", "MED.PRI")
    may_go_on.set()
    first.join()
    second.join()
    assert sizes[second] == 2


def test_many_callers_that_search_while_figures_change_get_no_false_answer(scene: Scene) -> None:
    created = [scene.service(scene.coalition, f"Casa {number}", "MED.PRI") for number in range(20)]
    false_answers: list[object] = []

    def ask() -> None:
        for _ in range(15):
            matches = scene.coordinator.MatchServices(need_code="MED.PRI", limit=100).matches
            if len({match.service.id for match in matches}) != 20 or [
                match.verdict for match in matches
            ] != sorted(match.verdict for match in matches):
                false_answers.append(matches)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(60):
        with scene.database.transaction(SYSTEM) as tx:
            tx.execute(
                "UPDATE services SET available = %s, intake = 'OPEN' WHERE id = %s",
                (number % 3, created[number % 20].id),
            )
    for thread in threads:
        thread.join()
    assert false_answers == []


def test_a_query_is_repeated_if_a_service_is_deleted_or_renamed_before_its_page_is_read(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = scene.service(scene.coalition, "Casa", "MED.PRI")
    renamed = scene.service(scene.coalition, "Techo", "MED.PRI")
    original, reads = search._rows, list[int]()

    def read_slowly(
        tx: Transaction, page: list[Hit], now: datetime, *, sees_shelters: bool, sees_unlisted: bool
    ) -> dict[str, Row]:
        if not reads:
            with scene.database.transaction(SYSTEM) as other:
                other.execute("UPDATE services SET listed = false WHERE id = %s", (removed.id,))
                other.execute(
                    "UPDATE services SET name = 'Abrigo', name_key = 'abrigo' WHERE id = %s",
                    (renamed.id,),
                )
        reads.append(len(page))
        return original(tx, page, now, sees_shelters=sees_shelters, sees_unlisted=sees_unlisted)

    monkeypatch.setattr(search, "_rows", read_slowly)
    answer = scene.coordinator.SearchServices(need_code="MED.PRI")
    assert [service.name for service in answer.services] == ["Abrigo"]
    assert answer.total_size == 1
    assert reads == [2, 1]


def test_an_outgrown_index_is_rebuilt_and_queries_meanwhile_miss_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "_SPARE_SLOTS", 2)
    created = [scene.service(scene.coalition, f"Casa {number}", "MED.PRI") for number in range(3)]
    index, original, transactions = DirectoryIndex(), directory_index._by_name, list[int]()

    @contextmanager
    def begin() -> Iterator[Transaction]:
        with scene.database.transaction(SYSTEM) as tx:
            transactions.append(1)
            yield tx

    def first_name() -> str:
        with scene.database.transaction(SYSTEM) as tx, index.current_content(tx, NOW) as content:
            return content.search.page(content.search.slots_with("listed", True), [], 1, None)[0][1]

    def rename(name: str) -> None:
        with scene.database.transaction(SYSTEM) as tx:
            tx.execute("UPDATE services SET name_key = %s WHERE id = %s", (name, created[0].id))

    index.keep_up(begin, NOW)
    # one transaction for each part, so that no directory is too large for a single transaction
    assert len(transactions) == 3
    for number in range(4):
        rename(f"aa {number}")
        assert first_name() == f"aa {number}"
    ids: list[str] = []

    def read_slowly(tx: Transaction, name_key: str, id: str) -> list[Row]:
        rows = original(tx, name_key, id)
        if not rows:  # everything was read: a service is changed, and another caller searches
            rename("ab")
            ids.append(first_name())
        return rows

    monkeypatch.setattr(directory_index, "_by_name", read_slowly)
    index.keep_up(begin, NOW)
    monkeypatch.setattr(directory_index, "_by_name", original)
    assert [*ids, first_name()] == ["ab", "ab"]
    transactions.clear()
    index.keep_up(begin, NOW)
    assert len(transactions) == 1  # one transaction is enough again


def test_after_very_many_changes_at_once_the_index_is_read_again_and_nothing_is_missed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "_SPARE_SLOTS", 2)
    monkeypatch.setattr(directory_index, "_BATCH", 2)
    assert found_names(scene) == []
    for number in range(9):
        scene.service(scene.coalition, f"Casa {number}", "MED.PRI")
    assert found_names(scene) == [f"Casa {number}" for number in range(9)]
    with scene.database.transaction(SYSTEM) as tx:
        tx.execute(f"UPDATE services SET {meets('MED.DENT')}")
    assert (found_names(scene), len(found_names(scene, "MED.DENT"))) == ([], 9)


def test_a_service_that_a_process_cannot_read_does_not_hide_other_services(scene: Scene) -> None:
    scene.service(scene.coalition, "Casa", "MED.PRI")
    newer = scene.service(scene.coalition, "De otra versión", "MED.DENT")
    assert (found_names(scene), found_names(scene, "MED.DENT")) == (["Casa"], ["De otra versión"])
    for words, expected in (("{word_of_a_later_version}", []), ("{}", ["De otra versión"])):
        with scene.database.transaction(SYSTEM) as tx:
            tx.execute("UPDATE services SET accessibility = %s WHERE id = %s", (words, newer.id))
        assert found_names(scene) == ["Casa"]
        matched = scene.coordinator.MatchServices(need_code="MED.DENT", country="NI").matches
        assert [match.service.name for match in matched] == expected
