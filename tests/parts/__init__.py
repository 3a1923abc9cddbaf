"""The real parts that tests run against: PostgreSQL and Apache Kafka, as child processes.

No part is faked if the real one is as fast. The test process that started a part stops it, even
when a test fails; if the run itself is killed, the kernel ends the parts with it.
"""
