"""Methods whose point is the hardware: each is measured in cycle-accurate simulation or in synthesis."""
