"""The contract: everything that the services may know of each other.

It consists of the .proto files and of the code generated from them.
"""
