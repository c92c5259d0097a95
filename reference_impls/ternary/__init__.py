"""Methods whose weights take the values minus, zero and plus."""
