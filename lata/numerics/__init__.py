"""Numbers: headers of tensors, dtypes, compiled kernels, random masks, buffers."""
