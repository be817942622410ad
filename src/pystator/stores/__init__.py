"""State stores: the protocols, the stores of this package, and what they share."""
