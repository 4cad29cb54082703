"""Push-down rewrites of a draft, one per file; each takes a Draft and gives a Draft."""
