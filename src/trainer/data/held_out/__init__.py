"""Training sessions that are held out to choose a checkpoint, so that the evaluation split is judged only once."""
