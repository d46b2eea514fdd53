"""Generate the shipped sample sessions by simulating customers who talk to a working `Dealership`."""
