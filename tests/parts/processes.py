"""The processes of this machine, as Linux describes them in /proc."""

from pathlib import Path


def stat(pid: int | None) -> list[str]:
    """Returns the state of a process, its parent's pid, and the other fields of proc_pid_stat(5).

    Raises OSError if there is no such process.
    """
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def runs(pid: int) -> bool:
    """Returns True if a process runs; False if it has ended, even if its parent has not noticed."""
    try:
        return stat(pid)[0] not in "ZX"
    except OSError:
        return False
