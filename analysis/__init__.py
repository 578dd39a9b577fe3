"""Tables, figures and the report, from the scores on disk; needs no torch."""
