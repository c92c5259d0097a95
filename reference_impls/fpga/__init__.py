"""Hardware building blocks, simulators and synthesis: one parameter object makes the integer model and the gates."""
