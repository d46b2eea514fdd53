"""Stop a run and go on with it: checkpoints, the order of rows, signals. Trains nothing."""
