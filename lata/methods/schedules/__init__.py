"""LATA's schedules: layer weights made of similarities."""
