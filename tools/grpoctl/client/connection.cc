#include "tools/grpoctl/client/connection.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "common/rpc/status.h"
#include "common/status_macros.h"
#include "tools/grpoctl/client/process_state.h"
#include "tools/grpoctl/records/run_folder.h"
#include "tools/grpoctl/text.h"

namespace grpo {
namespace {

// What is known of a trainer that does not answer, and what to do.
std::string AboutTheSilent(const std::string& run_dir, int64_t pid) {
  if (run_dir.empty()) {
    return "it may be stopped (SIGSTOP), out of reach, or have ended: see `grpoctl logs` on its machine; a run that "
           "has ended goes on with `grpoctl run --resume --run-dir DIR`";
  }
  // Where another grpoctl or machine serves the run, its process is none of this machine's trainers.
  const std::optional<std::string> state = DescribeProcess(pid, "trainer");
  if (state.has_value()) return absl::StrCat("its process ", pid, " is on this machine and ", *state);
  return absl::StrCat("its process ", pid, " is not on this machine: see `grpoctl logs --run-dir ", run_dir,
                      "`; once its grpoctl has ended, too, the run goes on with `grpoctl run --resume --run-dir ",
                      run_dir, "`");
}

// Why nothing serves a run that was launched: it may stand in a queue.
absl::Status WithItsJob(const absl::Status& error, const std::string& run_dir, const JobFlags& given) {
  const std::optional<JobFlags> job = JobOf(given, run_dir);
  const std::string state = job.has_value() ? DescribeJob(*job) : "";
  if (state.empty()) return error;
  return absl::UnavailableError(absl::StrCat(state, ": ", error.message()));
}

}  // namespace

void AddRunDirFlag(CLI::App& verb, std::string* run_dir) {
  verb.add_option("--run-dir", *run_dir, "Folder of the run (default: the run under runs/ that was started last)")
      ->option_text("DIR");
}

void AddConnectionFlags(CLI::App& verb, ConnectionFlags* flags) {
  CLI::Option* address = verb.add_option("--address", flags->address, "Where the trainer serves, instead of --run-dir");
  address->option_text("HOST:PORT");
  AddRunDirFlag(verb, &flags->run_dir);
  AddJobFlags(verb, &flags->job);
  address->excludes("--run-dir")->excludes("--job");
  verb.add_option("--token-file", flags->client.token_file, "File with the bearer token (default: the run's)")
      ->option_text("FILE");
  verb.add_option("--tls-ca", flags->client.tls_ca, "PEM authority that signed the server's certificate")
      ->option_text("FILE");
  verb.add_option("--tls-cert", flags->client.tls_cert, "PEM certificate to present")->option_text("FILE");
  verb.add_option("--tls-key", flags->client.tls_key, "PEM key of --tls-cert")->option_text("FILE");
  verb.add_option("--deadline", flags->deadline_s, "Seconds to wait for an answer")
      ->capture_default_str()
      ->check(CLI::Range(0.01, 86400.0))
      ->option_text("SECONDS");
}

absl::StatusOr<std::string> ResolveRunDir(const std::string& run_dir) {
  if (!run_dir.empty()) return run_dir;
  return NewestRun("runs");
}

absl::StatusOr<TrainerConnection> TrainerConnection::Open(const ConnectionFlags& flags) {
  TrainerConnection connection;
  Endpoint endpoint{.address = flags.address};
  if (flags.address.empty()) {
    ASSIGN_OR_RETURN(connection.run_dir, flags.job.given() ? RunDirOfJob(flags.job) : ResolveRunDir(flags.run_dir));
    const absl::StatusOr<Endpoint> found = FindEndpoint(connection.run_dir);
    if (!found.ok()) return WithItsJob(found.status(), connection.run_dir, flags.job);
    endpoint = *found;
    connection.pid = endpoint.pid;
  }
  // What a caller wrote on the command line goes before what the run folder says.
  ASSIGN_OR_RETURN(connection.client,
                   rpc::Client::Create(endpoint.address, rpc::OrElse(flags.client, endpoint.client)));
  connection.stub = v1::TrainerService::NewStub(connection.client->channel());
  connection.deadline = absl::Seconds(flags.deadline_s);
  return connection;
}

absl::Status TrainerConnection::Explain(const grpc::Status& status) const {
  const absl::Status error = rpc::FromGrpc(status);
  const std::string message = Printable(error.message());
  switch (error.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return absl::UnavailableError(absl::StrCat("no trainer answers at ", client->address(), " (", message,
                                                 "): ", AboutTheSilent(run_dir, pid)));
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return absl::Status(error.code(), absl::StrCat("the trainer at ", client->address(), " refused this caller (",
                                                     message, "): name the run's token with --token-file FILE"));
    default:
      return absl::Status(error.code(), absl::StrCat("the trainer at ", client->address(), " says: ", message));
  }
}

}  // namespace grpo
