"""Rows, what an endpoint is asked with them, and what it answers: held-out data, request bodies, predictions.

Called by `test`, which measures a version by them, and by `drift`, which compares them with what callers send.
"""
