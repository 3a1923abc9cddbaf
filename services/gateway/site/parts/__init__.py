"""What pages share: parts of a page, each of which is given its data."""
