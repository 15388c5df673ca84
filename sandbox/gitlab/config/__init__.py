"""From the text of a `.gitlab-ci.yml` to the jobs of one pipeline, as GitLab's own configuration engine does it.

In the order of the work: `documents.py` (YAML), `header.py` and `inputs.py` (`spec: inputs`), `interpolation.py`
(`$[[ … ]]`), `includes.py`, `inheritance.py` (`extends`, `!reference`), `*keywords.py` (what a keyword may be),
`normal.py` (defaults, `parallel`), `rules.py` with `expressions.py`, and `compiler.py`, which puts it together.

The specification is what GitLab answered: tests/fixtures/golden/gitlab, run by `python -m sandbox conform`.
"""
