"""Sign-in: verifiers, tokens, slowing."""
