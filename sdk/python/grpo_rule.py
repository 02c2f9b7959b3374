"""A reward rule as a program, in Python 3.8 or later. Copy this file beside yours; it needs nothing else.

    from grpo_rule import NO_ANSWER, serve

    def score(request):
        return 1.0 if request.completion.strip() == request.answer else 0.0

    serve(score, name="my_rule", version="1")

score returns a number in the rule's range, or NO_ANSWER, UNDECIDED or REFERENCE_UNPARSABLE, or Result(...) to say why. An exception is a
rule_error: the sample is left out of the loss and the message is in the server's log. One completion is scored at a time; what is printed
goes to standard error. reward/program_protocol.h is the protocol.
"""
import collections
import json
import os
import struct
import sys
import traceback

PROTOCOL_VERSION = 1
# Of what is said for logs; the server takes no frame of a megabyte.
MAX_TEXT_BYTES = 4096
SCORED, NO_ANSWER, UNDECIDED, REFERENCE_UNPARSABLE, RULE_ERROR = (f"outcome:{number}" for number in (1, 2, 3, 5, 7))

Result = collections.namedtuple("Result", "value outcome extracted decided_by", defaults=(0.0, SCORED, "", ""))


class Request:
    """What a rule may look at."""

    def __init__(self, fields):
        # The decoded completion as bytes; it may be invalid UTF-8.
        self.completion_bytes = fields[1]
        # The same as text, with U+FFFD for what is no UTF-8.
        self.completion = fields[1].decode("utf-8", "replace")
        self.prompt_id, self.prompt, self.answer = (field.decode("utf-8", "replace") for field in fields[2:5])
        # Whatever else the data source knows of the problem.
        self.metadata = json.loads(fields[5])
        # Token ids, the end-of-sequence token included; empty when the caller knows none.
        self.ids = struct.unpack(f"<{len(fields[6]) // 4}I", fields[6])


def _pack(fields):
    content = b"".join(struct.pack("<I", len(field)) + field for field in fields)
    return struct.pack("<I", len(content)) + content


def _unpack(content):
    fields, at = [], 0
    while at < len(content):
        (size,) = struct.unpack_from("<I", content, at)
        fields.append(content[at + 4 : at + 4 + size])
        at += 4 + size
    return fields


def _result(score, request):
    try:
        answer = score(request)
        if isinstance(answer, Result):
            return answer
        if isinstance(answer, str):
            return Result(outcome=answer)
        return Result(value=float(answer))
    except Exception:  # Whatever a rule raises is its failure on this completion alone.
        return Result(outcome=RULE_ERROR, decided_by=traceback.format_exc()[-2000:])


def serve(score, name, version):
    """Answers until the server has no more to ask."""
    # Kept from print, which would break the protocol.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    source = sys.stdin.buffer
    out.write(_pack([b"grpo-rule", struct.pack("<I", PROTOCOL_VERSION), name.encode(), version.encode()]))
    out.flush()
    while len(head := source.read(4)) == 4:
        fields = _unpack(source.read(struct.unpack("<I", head)[0]))
        result = _result(score, Request(fields))
        value = float(result.value) if result.outcome == SCORED else 0.0
        outcome = bytes([int(result.outcome.partition(":")[2])])
        texts = [str(text).encode("utf-8", "replace")[:MAX_TEXT_BYTES] for text in (result.extracted, result.decided_by)]
        out.write(_pack([fields[0], outcome, struct.pack("<d", value), *texts]))
        out.flush()
