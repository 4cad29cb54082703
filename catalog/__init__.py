"""Pure declaration of a mesh: domains, products, contracts, governance. No socket, no database."""
