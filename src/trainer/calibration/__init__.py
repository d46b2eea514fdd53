"""Move a model's decision to call a tool: the tokens that begin a call, their bias, and the file that keeps it."""
