"""Makes the site: records and accepted results become Markdown pages, and those become HTML with a search index."""
