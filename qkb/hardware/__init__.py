"""What `--target fpga` of `qkb run` and `qkb reproduce` does: starts methods as simulated hardware."""
