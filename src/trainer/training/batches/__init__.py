"""How the rows of a run become batches: padded or packed, joined or not, by number of rows or of tokens."""
