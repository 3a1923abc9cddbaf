"""The limit of open files of the process, sockets included."""

import resource

_MOST = 65_536  # open files, enough for every process; some systems refuse to set "unlimited"


def raise_limit() -> int:
    """Raises the soft limit of open files to the hard limit, or to _MOST if that is lower; returns
    the limit now in force.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < possible:
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
        soft = possible
    return _MOST if soft == resource.RLIM_INFINITY else soft
