"""One behaviour through every endpoint: types, errors, policies, cancelling."""
