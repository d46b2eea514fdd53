"""The parts of a report: judged turns, answers, tables, charts and facts, as the values that templates show."""
