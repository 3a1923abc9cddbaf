"""The frame of every page: rights and session, navigation, errors as pages, rejected forms.

The numbers of the helplines belong to the frame, too.
"""
