"""Begins a new paper: finds out what is known of it, and writes the files that a person has to finish."""
