"""The figures of the house style, counted over the tree."""
