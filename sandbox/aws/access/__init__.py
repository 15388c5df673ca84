"""IAM and STS: who called (identity.py), who may (authorization.py), and what moto lacks of their APIs."""
