"""What sources do to those who read them."""
