"""The process's limit on open files, sockets included."""

import resource

_MAX_OPEN_FILES = 65_536  # enough for every process; some systems refuse to set "unlimited"


def raise_limit() -> int:
    """Raises the soft limit on open files to the hard limit, but at most to _MAX_OPEN_FILES;
    returns the resulting limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = _MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
        soft = target
    return _MAX_OPEN_FILES if soft == resource.RLIM_INFINITY else soft
