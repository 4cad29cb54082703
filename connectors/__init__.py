"""One file per kind of source, its abilities as data beside it."""
