"""What customers of the insurance company say, by split."""
