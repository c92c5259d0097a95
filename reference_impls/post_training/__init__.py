"""Methods that quantize a trained network without training it again."""
