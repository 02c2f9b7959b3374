// completions.sqlite: what its writer (trainer/records/completions_log.h) and its readers agree on. Its view
// `completions` has one row per sample; the columns are those of kCreateCompletions.
#ifndef GRPO_TRAINER_RECORDS_COMPLETIONS_FORMAT_H_
#define GRPO_TRAINER_RECORDS_COMPLETIONS_FORMAT_H_

namespace grpo {

// In the run folder.
inline constexpr char kCompletionsFile[] = "completions.sqlite";

// Grows when a reader of the former one could not read the view.
inline constexpr int kCompletionsFormat = 1;

// step: of a train stage the optimizer step as in metrics.jsonl, else the groups collected when the row was written.
// policy_number: PolicyRef.number. temperature 0 is greedy. num_tokens: end-of-sequence not counted; 0 where the
// completion came without ids. excluded: 0 or 1; reward means nothing where it is 1. completion is TEXT, or a BLOB
// where it is not UTF-8 or holds a NUL. rules is JSON: {NAME: {"outcome", "value", "weight", "extracted"}}.
inline constexpr char kCreateCompletions[] = R"(
CREATE TABLE groups (
  id INTEGER PRIMARY KEY,
  stage TEXT NOT NULL,
  step INTEGER NOT NULL,
  group_index INTEGER NOT NULL,
  kind TEXT NOT NULL,
  prompt_id TEXT NOT NULL,
  prompt TEXT NOT NULL,
  answer TEXT NOT NULL,
  policy TEXT NOT NULL,
  policy_number INTEGER NOT NULL,
  temperature REAL NOT NULL
);
CREATE INDEX groups_by_step ON groups(stage, step);
CREATE INDEX groups_by_prompt ON groups(prompt_id);
CREATE TABLE samples (
  id INTEGER PRIMARY KEY,
  group_id INTEGER NOT NULL REFERENCES groups(id),
  sample_index INTEGER NOT NULL,
  completion NOT NULL,
  num_tokens INTEGER NOT NULL,
  finish_reason TEXT NOT NULL,
  outcome TEXT NOT NULL,
  excluded INTEGER NOT NULL,
  reward REAL,
  rules TEXT NOT NULL
);
CREATE INDEX samples_by_group ON samples(group_id);
CREATE VIEW completions AS
SELECT samples.id AS id, stage, step, group_index, sample_index, kind, prompt_id, prompt, answer, policy, policy_number,
       temperature, completion, num_tokens, finish_reason, outcome, excluded, reward, rules
FROM groups JOIN samples ON samples.group_id = groups.id;
)";

}  // namespace grpo

#endif  // GRPO_TRAINER_RECORDS_COMPLETIONS_FORMAT_H_
