"""Linear heads at the optimum of their loss, solved from a Gram matrix."""
