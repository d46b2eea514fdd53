"""Check the data of a configuration and show what is in it, before it costs anything."""
