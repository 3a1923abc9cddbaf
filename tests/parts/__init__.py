"""The real parts that tests run against: PostgreSQL and Apache Kafka, as child processes.

Nothing is faked that is as fast when real. Each part is stopped by the test process that started
it, also when a test fails; if the run itself is killed, the kernel ends the parts with it.
"""
