"""Answers in process: teacher forcing with gold as draft, then decoding only where the model disagrees."""
