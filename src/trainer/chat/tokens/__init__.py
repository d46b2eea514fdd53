"""The tokens of rendered text: their texts, the parts that rows share, and the names that calls have."""
