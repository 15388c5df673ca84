"""IAM and STS: what moto lacks of their APIs. Who may call what is authorization.py's."""
