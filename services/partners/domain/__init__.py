"""What the directory and its members are, and what may happen to them: allowed, it changes and
notes a fact; not allowed, it refuses and changes nothing.
"""
