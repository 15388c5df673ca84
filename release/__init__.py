"""Releases of this project: `make release` prepares one, the tag's pipeline builds and publishes it. Never shipped."""
