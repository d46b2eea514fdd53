"""One reader per family of layouts: how it writes roles, calls, results and tools."""
