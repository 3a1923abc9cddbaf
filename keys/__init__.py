"""Sealing and signatures, the folder of key files, key services (PKCS#11), the check of a service's
sealing keys, and their rotation.

Services and the chassis use `keys.sealing`. The other modules are for the start of a process, for
its check of the keys, for the commands of operators, and for tests.
"""
