"""Standard pathways, plans that follow them, and the legs of a hand-over across borders."""
