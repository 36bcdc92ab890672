"""How well a mixer recognises emotions: corpora, training and evaluation of the full model."""
