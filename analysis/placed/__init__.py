"""Placed studies in tables, figures and claims: what pooled vectors say of the place."""
