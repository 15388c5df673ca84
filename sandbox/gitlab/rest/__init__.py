"""The REST API, one module per resource, each with `register(api, entities)`. https://docs.gitlab.com/api/rest/"""
