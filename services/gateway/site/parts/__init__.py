"""Parts of pages that several of them share. Each is given its data and calls no service."""
