"""Standard pathways, plans that follow them, and the legs of hand-overs across borders."""
