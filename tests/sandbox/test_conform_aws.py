"""The judge of AWS's tables sees what differs: cases with a right and with a wrong expectation, in one sandbox."""

from typing import Any

from sandbox.conform import aws
from sandbox.conform.verdicts import Verdict

MISSING = {"action": "sqs:GetQueueUrl", "params": {"QueueName": "missing"}}
NO_QUEUE = {"code": "AWS.SimpleQueueService.NonExistentQueue", "status": 400}


def queue(name: str) -> dict[str, Any]:
    return {"action": "sqs:CreateQueue", "params": {"QueueName": name}, "save": {"url": "QueueUrl"}}


def attributes(name: str, **rest: Any) -> dict[str, Any]:
    params = {"QueueUrl": "${url}", "AttributeNames": [name]}
    return {"action": "sqs:GetQueueAttributes", "params": params, **rest}


def put(key: str, body: Any) -> list[dict[str, Any]]:
    name = {"Bucket": f"gold-{key}"}
    return [
        {
            "action": "s3:CreateBucket",
            "params": name | {"CreateBucketConfiguration": {"LocationConstraint": "${region}"}},
        },
        {"action": "s3:PutObject", "params": name | {"Key": key, "Body": body}},
        {"action": "s3:GetObject", "params": name | {"Key": key}},
    ]


ARN = "arn:aws:sqs:${region}:${account}:gold-arn"
CASES: list[tuple[list[dict[str, Any]], dict[str, Any], str]] = [
    ([MISSING], {"error": NO_QUEUE}, ""),
    ([MISSING], {"error": NO_QUEUE | {"status": 404}}, "error: status is 400, not 404"),
    ([MISSING], {"fields": {}}, "refused: AWS.SimpleQueueService.NonExistentQueue: "),
    ([MISSING, queue("gold-late")], {"fields": {}}, "step 1, sqs:GetQueueUrl: AWS.SimpleQueueService.NonExistent"),
    ([queue("gold-new")], {"error": NO_QUEUE}, "accepted, not refused with AWS.SimpleQueueService.NonExistentQueue"),
    ([queue("gold-arn"), attributes("QueueArn")], {"fields": {"Attributes.QueueArn": ARN}}, ""),
    ([queue("gold-at"), attributes("QueueArn")], {"at": "Attributes", "keys": ["QueueArn"]}, ""),
    ([queue("gold-key"), attributes("QueueArn")], {"keys": ["Other"]}, 'keys is ["Attributes"], not ["Other"]'),
    (
        [queue("gold-there"), attributes("QueueArn")],
        {"present": ["Attributes.QueueArn", "Attributes.Policy"]},
        "Attributes.Policy is missing",
    ),
    (
        [queue("gold-absent"), attributes("DelaySeconds")],
        {"absent": ["Attributes.Policy", "Attributes.DelaySeconds"]},
        'Attributes.DelaySeconds is "0", not absent',
    ),
    (
        [queue("gold-until"), attributes("DelaySeconds", until={"path": "Attributes.DelaySeconds", "in": ["0", "1"]})],
        {"fields": {"Attributes.DelaySeconds": 0}},
        'Attributes.DelaySeconds is "0", not 0',
    ),
    (put("text", {"$concat": ["a", {"$repeat": ["b", 3]}, "${other}"]}), {"fields": {"Body": "abbb${other}"}}, ""),
    (put("hex", {"$hex": "67"}), {"fields": {"Body": "g", "ContentLength": 1}}, ""),
    (
        put("json", '{"a": {"b": "2026"}}'),
        {"json_of": "Body", "keys": ["a"], "json_fields": {"a.b": "2026"}, "json_matches": {"a.b": "^[a-z]"}},
        'a.b is "2026", which does not match ^[a-z]',
    ),
    (put("words", "words"), {"json_of": "Body", "json_fields": {"a": 1}}, 'Body is "words", not JSON'),
    (put("part", "words"), {"at": "Body", "keys": []}, 'Body is "words", not a structure'),
]


def test_an_answer_is_compared_with_everything_that_is_expected() -> None:
    document = [{"id": str(number), "do": steps, "expect": expect} for number, (steps, expect, _) in enumerate(CASES)]
    assert aws.recognises(document)
    for verdict, (steps, expect, difference) in zip(aws.verdicts(document), CASES, strict=True):
        if difference:
            assert (verdict.difference or "").startswith(difference), (steps, expect)
        else:
            assert verdict == Verdict(verdict.case, None)


def event(name: str, status: str, reason: str | None = None) -> dict[str, str]:
    event = {"StackName": "gold", "LogicalResourceId": name, "ResourceStatus": status}
    return event if reason is None else event | {"ResourceStatusReason": reason}


EVENTS = [
    event("gold", "CREATE_IN_PROGRESS", "User Initiated"),
    event("Store", "CREATE_IN_PROGRESS"),
    event("Store", "CREATE_IN_PROGRESS", "Resource creation Initiated"),
    event("Store", "CREATE_COMPLETE"),
    event("gold", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"),
    event("gold", "UPDATE_COMPLETE"),
]


def differs(expect: dict[str, Any]) -> bool:
    try:
        aws._compare({"StackEvents": EVENTS[::-1]}, expect)
    except aws.Differs:
        return True
    return False


def test_events_of_a_stack_are_compared_oldest_first() -> None:
    pairs = [[each["LogicalResourceId"], each["ResourceStatus"]] for each in EVENTS if "CLEANUP" not in str(each)]
    triples = [
        [*pair, reason]
        for pair, reason in zip(pairs, ["User Initiated", None, "Resource creation Initiated", None, None], strict=True)
    ]
    store = ["CREATE_IN_PROGRESS", "CREATE_COMPLETE"]
    right: tuple[dict[str, Any], ...] = (
        {"statuses": pairs},
        {"events": triples},
        {"events_of": {"Store": store}},
        {"completed": ["Store CREATE_COMPLETE"]},
        {"events_of": {"gold": ["CREATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE"]}},
    )
    wrong: tuple[dict[str, Any], ...] = (
        {"statuses": pairs[::-1]},
        {"events": [*triples[:-1], [*pairs[-1], "No updates"]]},
        {"events_of": {"Store": store[::-1]}},
        {"completed": ["gold UPDATE_COMPLETE"]},
    )
    assert [expect for expect in right if differs(expect)] == []
    assert [expect for expect in wrong if not differs(expect)] == []


def test_tables_of_another_format_are_another_judges() -> None:
    documents: tuple[Any, ...] = ([], {}, [{"id": "a", "expect": {}}], [{"do": [{"action": "retry"}], "expect": {}}])
    for document in documents:
        assert not aws.recognises(document)
