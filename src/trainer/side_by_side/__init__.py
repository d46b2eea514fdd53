"""Look at finished runs and evaluations from outside: what to compare, which settings differ, a table of all runs."""
