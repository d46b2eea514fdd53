"""How many threads compute, and how they wait for each other. Call it before torch is imported."""


def set_up_threads() -> None:
    """Prepare."""
    return
