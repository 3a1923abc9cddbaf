"""Her file: who she is, what she allowed, whom she named as unsafe, and the quota of those who
open files.
"""
