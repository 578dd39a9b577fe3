"""Claims about position, and the comparisons that decide them."""
