"""The page over the sandbox's two servers: what a person looks at and clicks.

It is a client as any other: GitLab's REST API by python-gitlab, AWS by boto3, and nothing else. A view is a function
from the two servers to a template; while a page is open, its view is rendered again and again, and what has changed is
sent as a server-sent event. `sandbox up` and `sandbox demo` serve it.
"""
