"""Sealing and signatures, the folder of key files, key services (PKCS#11), the check of a service's
sealing keys, and their rotation.

Services and the chassis use `keys.sealing`. The other modules are used when a process starts, for
its check of the keys, by the commands of operators, and by tests.
"""
