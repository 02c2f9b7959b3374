// One line about a run, from the files of its folder alone, for lists of many: the ends of files, never whole ones that
// grow with the run.
#ifndef GRPO_TOOLS_GRPOCTL_RECORDS_RUN_RECORD_H_
#define GRPO_TOOLS_GRPOCTL_RECORDS_RUN_RECORD_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace grpo {

// Texts are as the files have them: hostile ones are made printable by who shows them. Plain data.
struct RunRecord {
  // The folder's last component, and the folder as the list's caller named it.
  std::string name, folder;
  std::string run_id = {};
  // What RunStatus knows, in lower case: running, paused, finished, stopped, failed, ...; of the files alone
  //   submitted   its job waits; `job` says which
  //   starting    its holder lives on this machine and serves nothing yet
  //   lost        the process that had it is gone and said no word of an end
  //   unknown     its holder is on another machine, and nothing serves it
  //   unreadable  the folder may not be read; `note` says why
  // and of a trainer that ought to serve (client/run_list.h) no answer, no access and not asked.
  std::string state = {};
  // Why, and what to do; may be empty.
  std::string note = {};
  // Where it is, or ended. step is -1, num_steps 0 where that is not known.
  std::string stage = {};
  int64_t step = -1, num_steps = 0;
  // The newest mean reward of a step.
  std::optional<double> reward = {};
  // Since it was last started, or submitted.
  std::optional<double> age_seconds = {};
  // Who had it last.
  std::string host = {};
  int64_t pid = 0;
  // "slurm 42" of a launched run.
  std::string job = {};

  // Whether its trainer may be there to be asked: endpoint.json is there.
  bool serves = false;
  // For the order of a list.
  std::filesystem::file_time_type started = std::filesystem::file_time_type::min();
};

// Whether a run was started in the folder or is to be: RUN/lock or RUN/launch/job.json is there, or the folder may not
// be looked into.
bool IsRunFolder(const std::string& folder);

// Of a folder that IsRunFolder. Never fails: what cannot be read stays empty. Any thread.
RunRecord ReadRunRecord(const std::string& folder);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_RECORDS_RUN_RECORD_H_
