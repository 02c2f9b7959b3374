"""TRL's side of compare_trl: whole steps of GRPOTrainer, one for each line of stdin. Runs in .venv-parity.

    trl_steps.py '{"model": DIR, "prompts": 8, "group": 8, "prompt_tokens": 47, "new_tokens": 64, "dtype": "float32", "threads": 2, "rows": 64}'

`rows` is how many completions it takes through the model at a time (gradient accumulation); in bfloat16 its weights are bfloat16, or, with
"autocast": true, float32 under autocast. A step is what lies between the trainer's own on_step_begin and on_step_end.
"""
import json
import pathlib
import sys
import tempfile
import time

import datasets
import torch
import transformers
import trl

import peers


def reward(completion_ids, **_):
    """As cheap as can be, and not the same for all."""
    return [float(sum(ids) % 2) for ids in completion_ids]


class Trainer(trl.GRPOTrainer):
    # Random ids are no text that a tokenizer would give back.
    prompt_ids = []

    def _tokenize_prompts(self, prompts):
        return [self.prompt_ids[int(prompt)] for prompt in prompts], None, {}


class Turns(transformers.TrainerCallback):
    """The first step warms up."""

    def __init__(self):
        self.steps = 0

    def on_step_begin(self, *_, **__):
        if self.steps > 0 and not sys.stdin.readline():
            sys.exit(0)
        self.begin = time.perf_counter()

    def on_step_end(self, *_, **__):
        print(json.dumps({"seconds": time.perf_counter() - self.begin}), flush=True)
        self.steps += 1


def main():
    case = json.loads(sys.argv[1])
    torch.set_num_threads(case["threads"])
    rows = case["prompts"] * case["group"]
    low = case["dtype"] == "bfloat16"
    autocast = case.get("autocast", False)
    model = transformers.AutoModelForCausalLM.from_pretrained(case["model"], dtype=torch.bfloat16 if low and not autocast else torch.float32)
    arguments = trl.GRPOConfig(
        output_dir=tempfile.mkdtemp(),
        use_cpu=True,
        bf16=low and autocast,
        per_device_train_batch_size=case["rows"],
        gradient_accumulation_steps=rows // case["rows"],
        num_generations=case["group"],
        max_completion_length=case["new_tokens"],
        # The end token has no probability before that.
        generation_kwargs={"min_new_tokens": case["new_tokens"]},
        temperature=1.0,
        beta=0.0,
        learning_rate=1e-6,
        lr_scheduler_type="constant",
        max_steps=1 << 20,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to=[],
        logging_steps=1 << 20,
        disable_tqdm=True,
        seed=0,
    )
    data = datasets.Dataset.from_dict({"prompt": [str(i) for i in range(case["prompts"])]})
    trainer = Trainer(
        model=model,
        reward_funcs=reward,
        args=arguments,
        train_dataset=data,
        processing_class=transformers.AutoTokenizer.from_pretrained(case["model"]),
        callbacks=[Turns()],
    )
    trainer.prompt_ids = peers.prompt_ids(case["prompts"], case["prompt_tokens"], model.config.vocab_size)
    trainer.train()


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    main()
