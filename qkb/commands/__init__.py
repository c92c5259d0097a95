"""One module per command: the docstring is the manual, `run()` is plain Python, the parser part only parses."""
