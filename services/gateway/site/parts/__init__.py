"""Parts of pages that several of them share. A part is given its data and calls no service."""
