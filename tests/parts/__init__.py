"""The real parts that tests run against: PostgreSQL, Apache Kafka; each a child process of the test
run.

Nothing is faked that is as fast when real. Every part is stopped by its own process, also when a
test fails; if the run itself is killed, the kernel ends the parts with it.
"""
