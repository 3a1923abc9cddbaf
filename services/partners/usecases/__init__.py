"""The use cases of the directory and its members: one method per rpc, which takes the request and
the call and returns the response.
"""
