"""The tool-call formats, one family per file: its reader and its reference writer."""
