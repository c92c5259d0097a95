"""Links: where they stand, whether they lead somewhere, and whether that is the work that the record describes."""
