"""Methods that quantize gradients."""
