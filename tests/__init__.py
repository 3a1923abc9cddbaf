"""A test is a sentence; a journey is a story with actors.

Each folder is named after the part whose promises it checks.
"""

import os

# Tests fork children while gRPC's threads run, and the children only execute a program. gRPC's
# support for forks would prepare them for more, and killed about one child in a thousand.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
