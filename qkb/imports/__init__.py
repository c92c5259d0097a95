"""What other programs and people wrote about papers, read into works: BibTeX, CSL-JSON, RIS, Markdown reading lists.

`sources` finds the reader of a file; each reader returns rows, one for each thing that is meant to be a work;
`catalogue` compares them with a library; `draft` makes the file of a record of what a row says.
"""
