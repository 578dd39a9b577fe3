"""The tables, what they say, and which claims hold."""
