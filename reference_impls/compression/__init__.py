"""Compact architectures, pruning, distillation and the like."""
