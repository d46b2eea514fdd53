"""What customers of any office say, by split."""
