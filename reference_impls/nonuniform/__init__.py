"""Methods on levels that are not equally spaced."""
