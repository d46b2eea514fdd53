"""Share a finished run: its model card, and what is uploaded."""
