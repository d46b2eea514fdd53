"""Generate answers in process: a teacher-forced pass with gold as the draft, then decoding where a turn differs."""
