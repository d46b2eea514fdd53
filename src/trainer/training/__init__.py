"""One training run: its arguments, log and folder, and the finished run."""
