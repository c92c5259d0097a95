"""One small tested reference implementation per work; knows nothing about `qkb`."""
