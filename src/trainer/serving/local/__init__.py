"""A small OpenAI-compatible server for machines without a GPU."""
