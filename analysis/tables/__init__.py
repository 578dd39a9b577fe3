"""The tables and what they say."""
