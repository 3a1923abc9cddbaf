"""Parts that several pages share. A part is given its data and calls no service."""
