"""The operator's operations, and both ends of the control socket over which commands ask for them."""
