"""Tables K4, S1, D and C."""
