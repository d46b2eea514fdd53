"""Build the HTML reports of runs and of served evaluations from the files of their folders. Runs and asks no model."""
