"""A working insurance office, and customers who talk to it: they made the shipped sample sessions."""
