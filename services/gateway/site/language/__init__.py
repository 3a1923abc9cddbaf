"""Languages, times and words as the reader has them."""
