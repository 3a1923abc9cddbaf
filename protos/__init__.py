"""All that the services may know of each other: the .proto files and the code generated from
them.
"""
