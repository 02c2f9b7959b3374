"""The quickstart, short enough for a device whose every operation is slow, or for a check that has a minute: on two ranks and two workers."""

# All of its stages. The corpus is in the rewarded form only, so that there is something to reward after so few steps.
SETTINGS = {
    "trainer.ranks": 2,
    "rollout_worker.workers": 2,
    "rollout_worker.slots": 8,
    # What a killed one goes on from, and how soon it is missed.
    "checkpoint.every_steps": 3,
    "coordinator.heartbeat_interval_s": 2,
    "coordinator.lease_ttl_s": 20,
    "data.corpus.good_frac": 1.0,
    "data.corpus.drill_frac": 0.0,
    "data.corpus.max_heads": 10,
    "data.problems.max_heads": 10,
    "data.held_out.max_heads": 12,
    "stages.pretrain.steps": 40,
    "stages.pretrain.optimizer.learning_rate": 1.0e-2,
    "stages.pretrain.optimizer.warmup_steps": 5,
    "stages.r1_zero.steps": 6,
    "stages.r1_zero.optimizer.warmup_steps": 1,
    "stages.pretrain_student.steps": 10,
    # So short a run solves no problem: the student learns from whatever was written to its end.
    "rewards.r1_zero.rules": "{math_answer: {weight: 1.0}, format_tags: {weight: 0.1}, anything: {type: regex, pattern: ., weight: 0.0}}",
    "stages.synthesize.problems": 4,
    "stages.synthesize.accuracy_rule": "anything",
    "stages.synthesize.format_rule": "",
    "stages.distill.steps": 4,
    "stages.distill.traces_per_step": 8,
    "stages.student_rl.steps": 2,
}
for _stage in ("r1_zero", "student_rl"):
    SETTINGS |= {f"stages.{_stage}.prompts_per_step": 4, f"stages.{_stage}.group_size": 4}
for _policy in ("base", "r1_zero", "student_distilled", "student_rl"):
    SETTINGS |= {f"stages.evaluate_{_policy}.problems": 2, f"stages.evaluate_{_policy}.samples_per_problem": 4}


def signs_of_not_learning(records):
    """What in a run's records (run_folder.records) a run that learns would not show: one line each."""
    found = []

    def values(stage, key):
        return [float(record[key]) for record in records if record["stage"] == stage and key in record]

    # Of log 60 at the beginning, all but a tenth is learned in forty steps.
    losses = values("pretrain", "loss")
    if len(losses) < 2 or losses[-1] > 0.4 * losses[0]:
        found.append(f"the loss of pretrain goes from {losses[:1]} to {losses[-1:]}")
    for stage in ("pretrain_student", "distill"):
        losses = values(stage, "loss")
        if len(losses) < 2 or losses[-1] >= losses[0]:
            found.append(f"the loss of {stage} goes from {losses[:1]} to {losses[-1:]}")
    if max(values("r1_zero", "reward"), default=0) <= 0:
        found.append("nothing of r1_zero is rewarded")
    if max(values("r1_zero", "grad_norm"), default=0) <= 0:
        found.append("r1_zero has no gradient")
    return found
