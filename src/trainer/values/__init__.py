"""Read values out of texts and rows: JSON, Python literals, and values taken or refused with their place."""
