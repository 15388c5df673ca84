"""Hold the sandbox to answers that GitLab, AWS and the real containers gave: `python -m sandbox conform FOLDER`.

A table is a JSON file of cases; which judge understands it is told by the shape of its cases, not by its name. A judge
is a module with `recognises(document)` and `verdicts(document)`.
"""
