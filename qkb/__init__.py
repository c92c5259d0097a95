"""The tool over the records of the executable survey of neural-network quantization."""

__version__ = "0.1.0"
