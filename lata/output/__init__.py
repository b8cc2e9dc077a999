"""Making a model folder: weights in any order, and everything that lies beside them."""
