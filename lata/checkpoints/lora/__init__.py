"""LoRA adapters, read as if they had been merged into their model."""
