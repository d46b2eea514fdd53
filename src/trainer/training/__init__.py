"""Train one run: its arguments, log and folder; and read a finished run."""
