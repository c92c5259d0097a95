"""What the registries say about a work: arXiv, Crossref and DataCite, OpenReview, DBLP, Semantic Scholar."""
