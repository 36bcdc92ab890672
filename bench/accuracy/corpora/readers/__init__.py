"""The readers of corpora, one file each: its name is the corpus's name, and it defines `read`."""
