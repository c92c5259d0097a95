"""Records: the model, the loader that keeps line numbers, the rules and the canonical layout."""
