"""The quickstart in its short form: the settings that make each of its stages a few steps long."""

SHORT = {
    "stages.pretrain.steps": 40,
    "stages.r1_zero.steps": 10,
    "stages.evaluate_base.problems": 8,
    "stages.evaluate_r1_zero.problems": 8,
    "stages.pretrain_student.steps": 40,
    "stages.synthesize.problems": 16,
    # So short a run solves no problem: the student learns from whatever was written to its end.
    "rewards.r1_zero.rules": "{math_answer: {weight: 1.0}, format_tags: {weight: 0.1}, anything: {type: regex, pattern: ., weight: 0.0}}",
    "stages.synthesize.accuracy_rule": "anything",
    "stages.synthesize.format_rule": "",
    "stages.distill.steps": 10,
    "stages.evaluate_student_distilled.problems": 8,
    "stages.student_rl.steps": 5,
    "stages.evaluate_student_rl.problems": 8,
    "data.held_out.max_heads": 12,
}
