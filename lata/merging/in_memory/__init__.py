"""One merge held in memory for many λ, written into the tensors of a loaded model."""
