"""Write sample sessions by playing customers against a real `Dealership`. Used to make the shipped data."""
