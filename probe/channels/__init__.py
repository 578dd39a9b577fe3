"""Which channels say the place, and what is left without them."""
