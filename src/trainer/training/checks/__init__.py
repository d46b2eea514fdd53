"""The checks of a run before it starts. Each yields problems; none writes anything."""
