"""my_rule pays 1 when the last <answer> holds the reference answer, literally."""
from grpo_rule import NO_ANSWER, Result, serve


def score(request):
    # No regular expression: Python's can take hours for a megabyte that was written to that end.
    _, opened, answer = request.completion.strip().rpartition("<answer>")
    if not opened or not answer.endswith("</answer>"):
        return NO_ANSWER
    answer = answer[: -len("</answer>")].strip()
    if "<" in answer:
        return NO_ANSWER
    return Result(value=float(answer == request.answer.strip()), extracted=answer)


serve(score, name="my_rule", version="1")
