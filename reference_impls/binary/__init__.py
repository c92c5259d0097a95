"""Methods whose weights, or weights and activations, take two values."""
