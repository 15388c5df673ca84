"""SageMaker: pipelines and their jobs, the model registry, endpoints, all of it really running; moto keeps the rest."""
