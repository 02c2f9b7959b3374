"""my_rule pays 1 when the last <answer> holds the reference answer, literally."""
import re

from grpo_rule import NO_ANSWER, Result, serve

ANSWER = re.compile(r"(?s).*<answer>\s*([^<]*?)\s*</answer>\s*\Z")


def score(request):
    found = ANSWER.match(request.completion)
    if not found:
        return NO_ANSWER
    return Result(value=float(found[1] == request.answer.strip()), extracted=found[1])


serve(score, name="my_rule", version="1")
