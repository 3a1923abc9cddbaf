"""Standard pathways, plans by them, and the legs of a hand-over across borders."""
