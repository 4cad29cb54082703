"""Whether what fails once is let through: only what may be."""
