"""Methods on equally spaced levels."""
