"""Judge, compare and load a served model. Needs no torch."""
