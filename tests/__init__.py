"""A test is a sentence; a journey is a story with actors.

Each folder is named after the part whose promises it checks.
"""

import os

# Tests fork children while gRPC's threads run; the children only execute a program. gRPC would
# prepare them for more, and about one in a thousand children died of that.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
