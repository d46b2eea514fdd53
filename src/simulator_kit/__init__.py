"""What the simulated offices of all domains share: running tools, and writing conversations about them."""
