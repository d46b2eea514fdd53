"""What customers say, separately for each split."""
