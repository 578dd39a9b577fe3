"""Helpers that every stage shares and that know nothing of features."""
