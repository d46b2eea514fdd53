"""What a chat template is and does: its source, the shape of the messages that it reads, and its probing."""
