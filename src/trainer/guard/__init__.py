"""The guard: conversations without tools that show what training spoils, and how a model answers them."""
