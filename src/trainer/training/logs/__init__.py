"""What a run tells while it trains: lines in the log, trackers, and how long it will take."""
