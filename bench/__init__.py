"""Measurements of what this project promises about speed and size. `make bench`."""
