"""Languages, times and words for the reader."""
