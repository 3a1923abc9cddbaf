"""Keys as files: made once, by whichever process comes first."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from keys import key_folder


def test_of_two_who_make_a_key_at_once_both_have_the_same(tmp_path: Path) -> None:
    key_folder.create(tmp_path, ["referrals"])
    for _ in range(30):
        barrier = Barrier(2)

        def make(_: int, barrier: Barrier = barrier) -> tuple[int, bytes]:
            barrier.wait()
            number = key_folder.add_to_ring(tmp_path, "sealing.referrals")
            return number, key_folder.ring(tmp_path, "sealing.referrals")[number]

        with ThreadPoolExecutor(2) as pool:
            (first, its), (second, others) = pool.map(make, range(2))
        assert first != second or its == others
    assert not [file for file in tmp_path.iterdir() if file.suffix not in (".key", ".jwk")], (
        "nothing half made is left"
    )
