"""Tables K4, S1, D, C and L."""
