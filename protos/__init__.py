"""The contract: everything that the services may know about each other.

It consists of the .proto files and of the code generated from them.
"""
