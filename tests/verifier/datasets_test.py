"""The verifier on MATH-500 and the GSM8K test set: every reference solution is paid for its own answer, every answer
equals itself in the rewritings that a model makes, and is not paid for the answers of other problems."""
import collections
import gzip
import json
import os
import re
import subprocess
import sys
import unittest

GRPOCTL = os.path.join("tools", "grpoctl")
NUM_OTHERS = 20
# Answers of different problems that are equal: spellings of one value, as the conventions in reward/math/equal.h have it.
UNIT = re.compile(r"\\(?:text|mbox)\{[^}]*\}(?:\^2)?|\^\\circ|\\\$|\\!|[\s,]")


def read(name):
    with gzip.open(os.path.join("datasets", name), "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def ask(verb, rows):
    lines = "".join(json.dumps({"id": i, **row}) + "\n" for i, row in enumerate(rows))
    run = subprocess.run([GRPOCTL, "reward", verb], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


def class_of(answer):
    for name, pattern in (("text", r"^\\text\{[^}]*\}$"), ("matrix", "matrix"), ("interval or set", r"\\cup|\\infty|\\in|\\\{|[\])]$"),
                          ("list", ","), ("equation", "="), ("degrees, units", r"circ|\\text|mbox|\\\$"), ("base", "_"),
                          ("polynomial", "[a-zA-Z]$|[a-z]\\^|[a-z] "), ("root, pi, complex", r"sqrt|\\pi|i"), ("fraction", "frac")):
        if re.search(pattern, answer):
            return name
    return "number"


def rewritings(answer):
    """What a model writes for an answer, apart from what it means."""
    texts = [answer, f"${answer}$", f"\\({answer}\\)", f"\\[ {answer} \\]", f"  {answer}  ", f"**{answer}**"]
    if not answer.endswith("."):
        texts.append(answer + ".")
    texts.append(answer.replace("\\frac", "\\dfrac"))
    texts.append(answer.replace("\\dfrac", "\\frac"))
    texts.append(re.sub(r"(?<![a-zA-Z])([+=<>-])", r" \1 ", answer))
    texts.append(answer.replace(",\\!", ",").replace(", ", ","))
    texts.append(answer.replace("^\\circ", "°"))
    texts.append(answer.replace("^\\circ", "^{\\circ}"))
    texts.append(answer.replace("^\\circ", ""))
    texts.append(answer.replace("^\\circ", "\\text{ degrees}"))
    texts.append(answer.replace("\\text", "\\textbf"))
    texts.append(answer.replace("\\text", "\\mathrm"))
    texts.append(answer.replace("\\mbox", "\\text"))
    texts.append(re.sub(r"(?<=\d)\s*\\(?:text|mbox)\{[^}]*\}(?:\^2)?$", "", answer))
    texts.append(answer.replace("pmatrix", "bmatrix"))
    texts.append(answer.replace("\\pi", "π"))
    texts.append(re.sub(r"\\sqrt\{(\w+)\}", r"√\1", answer))
    texts.append(re.sub(r"^-?\d+$", lambda m: f"{int(m[0]):,}", answer))
    texts.append(re.sub(r"^-?\d+$", r"\g<0>.0", answer))
    texts.append(re.sub(r"(?<![\d ])\\frac\{(-?\d+)\}\{(\d+)\}", r"(\1/\2)", answer))
    if "\\left" not in answer and "\\text" not in answer:
        texts.append(answer.replace("(", "\\left(").replace(")", "\\right)"))
    if re.fullmatch(r"-?\d+", answer):
        texts += [f"x = {answer}", f"{answer} \\text{{ units}}", f"{answer} apples", f"\\text{{{answer}}}"]
    return list(dict.fromkeys(texts))


class MathTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rows = read("math500_test.jsonl.gz")

    def test_every_reference_solution_is_paid(self):
        scores = ask("score", [{"completion": row["solution"], "answer": row["answer"]} for row in self.rows])
        for row, score in zip(self.rows, scores):
            self.assertEqual(score["rules"]["math_answer"]["value"], 1, (row["answer"], score))

    def test_every_answer_equals_itself_as_models_write_it(self):
        pairs = [(row["answer"], text) for row in self.rows for text in rewritings(row["answer"])]
        pairs += [(b, a) for a, b in pairs]
        rates = collections.Counter()
        for (gold, pred), verdict in zip(pairs, ask("equal", [{"gold": a, "pred": b} for a, b in pairs])):
            rates[class_of(gold), "all"] += 1
            rates[class_of(gold), "equal"] += verdict["equal"] is True
            self.assertIs(verdict["equal"], True, (gold, pred))
        for name in sorted({name for name, _ in rates}):
            print(f"MATH-500 {name}: {rates[name, 'equal']} of {rates[name, 'all']} rewritings equal", file=sys.stderr)

    def test_no_answer_is_paid_for_another_problem(self):
        answers = [row["answer"] for row in self.rows]
        pairs = [(a, answers[(i + 37 * k) % len(answers)]) for i, a in enumerate(answers) for k in range(1, NUM_OTHERS + 1)]
        num_different = 0
        for (gold, pred), verdict in zip(pairs, ask("equal", [{"gold": a, "pred": b} for a, b in pairs])):
            if verdict["equal"]:
                # "\frac{3}{2}" and "\frac32" are the same, and so are "90" and "90^\circ": spelled alike without units.
                alike = [UNIT.sub("", re.sub(r"\\dfrac|\\tfrac", r"\\frac", text)) for text in (gold, pred)]
                self.assertEqual(alike[0].replace("{", "").replace("}", ""), alike[1].replace("{", "").replace("}", ""), (gold, pred))
            else:
                num_different += 1
        print(f"MATH-500: {num_different} of {len(pairs)} pairs of different problems differ", file=sys.stderr)
        self.assertGreater(num_different, 9000)


class Gsm8kTest(unittest.TestCase):
    def test_every_reference_solution_and_rewriting_is_paid(self):
        rows = read("gsm8k_test.jsonl.gz")
        completions = []
        for row in rows:
            answer = row["answer"]
            plain = answer.replace(",", "")
            for text in (row["solution"], f"\\boxed{{{answer}}}", f"The answer is ${plain}.", f"The answer is {answer} dollars.",
                         f"<think>\nso\n</think>\n<answer>\n{plain}\n</answer>", f"#### {plain}.00", f"**Answer:** \\({plain}\\)",
                         f"\\boxed{{\\${answer}}}", f"\\boxed{{{plain} \\text{{ meters}}}}", f"\\boxed{{x = {plain}}}"):
                completions.append({"completion": text, "answer": answer})
        for row, score in zip(completions, ask("score", completions)):
            self.assertEqual(score["rules"]["math_answer"]["value"], 1, (row, score))

    def test_no_answer_is_paid_for_another_problem(self):
        answers = [row["answer"] for row in read("gsm8k_test.jsonl.gz")]
        pairs = [(a, answers[(i + 31 * k) % len(answers)]) for i, a in enumerate(answers) for k in range(1, NUM_OTHERS + 1)]
        for (gold, pred), verdict in zip(pairs, ask("equal", [{"gold": a, "pred": b} for a, b in pairs])):
            same = gold.replace(",", "") == pred.replace(",", "")
            self.assertEqual(verdict["equal"], same, (gold, pred))


if __name__ == "__main__":
    unittest.main()
