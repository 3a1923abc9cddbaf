"""The frame of every page: rights and session, navigation, errors as pages, forms that come back,
the numbers of the lines.
"""
