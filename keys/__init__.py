"""Keys: sealing and signatures, the folder of key files, key services (PKCS#11), the check of a
service's sealing keys, and their rotation.

`keys.sealing` is what services and the chassis work with. The other modules are for the start of a
process, for operators, and for the tests.
"""
