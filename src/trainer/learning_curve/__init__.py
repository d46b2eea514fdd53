"""Train a run on parts of its sessions, and say whether more data or more steps would help."""
