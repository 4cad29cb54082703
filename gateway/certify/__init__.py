"""What a live source really means by SQL, asked of it statement by statement."""
