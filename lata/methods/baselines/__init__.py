"""Published methods that LATA is compared with."""
