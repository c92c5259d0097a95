"""What many methods share: data, toy models, training, straight-through gradients, packing, results."""
