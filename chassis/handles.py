"""How many files, sockets included, a process may have open."""

import resource

_MOST = 65_536  # more helps no process here, and some systems refuse to set "unlimited"


def raise_limit() -> int:
    """Raises the soft limit of open files to the hard one, as far as _MOST; returns the limit that
    holds from now on.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < possible:
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
        soft = possible
    return _MOST if soft == resource.RLIM_INFINITY else soft
