"""Looks for what no rule forbids and a maintainer wants to know: see `qkb.commands.doctor`."""
