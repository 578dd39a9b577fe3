"""What a channel says of the place: its variance over places, its change in the mirror."""
