"""What customers and sales people say, for each split its own."""
