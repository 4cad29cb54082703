"""What every connector must prove, and that its declared abilities are neither too many nor few."""
