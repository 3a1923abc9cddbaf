"""The processes of this machine, as Linux describes them in /proc."""

from pathlib import Path


def stat(pid: int | None) -> list[str]:
    """Returns the state of a process, its parent's pid, and the further fields of proc_pid_stat(5).

    Raises OSError if there is no such process.
    """
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def runs(pid: int) -> bool:
    """Returns False if a process has ended, even if its parent does not know that yet."""
    try:
        return stat(pid)[0] not in "ZX"
    except OSError:
        return False
