#include "common/rpc/certificate_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/rpc/certificates.h"
#include "common/rpc/credentials.h"
#include "common/status_macros.h"

namespace grpo::rpc {
namespace {

// For nobody but the owner from its first moment on, and never half written.
absl::Status WriteSecret(const std::string& path, const std::string& content) {
  const std::string beside = path + ".new";
  ::unlink(beside.c_str());
  const int fd = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (fd < 0) return ErrnoStatus(errno, "create", beside);
  ::close(fd);
  // Keeps the mode of the file that is there.
  RETURN_IF_ERROR(WriteFileSynced(beside, content));
  RETURN_IF_ERROR(Rename(beside, path));
  return SyncFolder(path.substr(0, path.rfind('/')));
}

// For the folder's owner alone: what lies there is nobody else's business, and a renewal must not be someone else's.
absl::Status MakePrivateFolder(const std::string& folder) {
  RETURN_IF_ERROR(MakeFolders(folder));
  if (::chmod(folder.c_str(), S_IRWXU) != 0) return ErrnoStatus(errno, "chmod 700", folder);
  return absl::OkStatus();
}

absl::StatusOr<KeyPair> ReadPair(const std::string& certificate, const std::string& key) {
  KeyPair pair;
  ASSIGN_OR_RETURN(pair.certificate, ReadFile(certificate, kMaxPemBytes));
  ASSIGN_OR_RETURN(pair.key, ReadFile(key, kMaxPemBytes));
  RETURN_IF_ERROR(Annotate(CheckKeyPair(pair), absl::StrCat(certificate, " and ", key)));
  return pair;
}

// Whether the authority in the folder is the run's, and good to go on with.
bool IsAuthorityOf(const std::string& run_id, const absl::StatusOr<KeyPair>& authority, absl::Time now) {
  if (!authority.ok()) return false;
  const absl::StatusOr<CertificateFacts> facts = ReadCertificate(authority->certificate);
  return facts.ok() && facts->uris == std::vector<std::string>{absl::StrCat("grpo://", run_id, "/authority")} &&
         now + kCertificateLife < facts->validity.not_after;
}

absl::StatusOr<KeyPair> KeepOrMakeAuthority(const std::string& folder, const std::string& run_id, absl::Time now) {
  const std::string path = AuthorityPath(folder), key_path = AuthorityKeyPath(folder);
  absl::StatusOr<KeyPair> authority = ReadPair(path, key_path);
  if (IsAuthorityOf(run_id, authority, now)) return authority;
  ASSIGN_OR_RETURN(authority,
                   MakeAuthority(run_id, {.not_before = now - kClockTolerance, .not_after = now + kAuthorityLife}));
  RETURN_IF_ERROR(WriteSecret(key_path, authority->key));
  RETURN_IF_ERROR(WriteFileAtomically(path, authority->certificate));
  return authority;
}

// The role's key, made if need be: one that is there is kept, for processes may hold it.
absl::StatusOr<std::string> KeepOrMakeKey(const std::string& path) {
  const absl::StatusOr<std::string> there = ReadFile(path, kMaxPemBytes);
  if (there.ok() && !there->empty()) return *there;
  ASSIGN_OR_RETURN(std::string key, MakePrivateKey());
  RETURN_IF_ERROR(WriteSecret(path, key));
  return key;
}

absl::Status Issue(const std::string& folder, const KeyPair& authority, const CallerIdentity& identity,
                   const std::vector<std::string>& hosts, const Validity& validity) {
  ASSIGN_OR_RETURN(const std::string key, KeepOrMakeKey(KeyPath(folder, identity.role)));
  const std::string path = CertificatePath(folder, identity.role);
  const absl::StatusOr<std::string> certificate = IssueCertificate(authority, identity, hosts, validity, key);
  RETURN_IF_ERROR(Annotate(certificate.status(), path));
  return WriteFileAtomically(path, *certificate);
}

bool IsDue(const Validity& validity, absl::Time now) {
  return now < validity.not_before || now >= validity.not_after - (validity.not_after - validity.not_before) / 3;
}

// True when the role's certificate was due and has been written.
absl::StatusOr<bool> RenewOne(const std::string& folder, CallerRole role, const CertificateFacts& old, absl::Time now) {
  ASSIGN_OR_RETURN(const auto identity, FindIdentity(old.uris));
  if (!identity.has_value() || identity->role != role) {
    return absl::InvalidArgumentError(absl::StrCat(CertificatePath(folder, role), " is no certificate of the role ",
                                                   CallerRoleName(role), ": make the run's certificates anew"));
  }
  ASSIGN_OR_RETURN(const KeyPair authority, ReadPair(AuthorityPath(folder), AuthorityKeyPath(folder)));
  const absl::Duration length = old.validity.not_after - old.validity.not_before;
  const absl::Time not_before = now - kClockTolerance;
  RETURN_IF_ERROR(
      Issue(folder, authority, *identity, old.hosts, {.not_before = not_before, .not_after = not_before + length}));
  return true;
}

}  // namespace

std::string AuthorityPath(const std::string& folder) {
  return folder + "/ca.pem";
}
std::string AuthorityKeyPath(const std::string& folder) {
  return folder + "/ca.key";
}
std::string CertificatePath(const std::string& folder, CallerRole role) {
  return absl::StrCat(folder, "/", CallerRoleName(role), ".pem");
}
std::string KeyPath(const std::string& folder, CallerRole role) {
  return absl::StrCat(folder, "/", CallerRoleName(role), ".key");
}

absl::Status IssueRunCertificates(const std::string& folder, const RunCertificateTerms& terms, absl::Time now) {
  RETURN_IF_ERROR(CheckRunId(terms.run_id));
  RETURN_IF_ERROR(MakePrivateFolder(folder));
  ASSIGN_OR_RETURN(const KeyPair authority, KeepOrMakeAuthority(folder, terms.run_id, now));
  const Validity validity = {.not_before = now - kClockTolerance, .not_after = now + terms.life};
  for (const CallerRole role : kCallerRoles)
    RETURN_IF_ERROR(Issue(folder, authority, {.run_id = terms.run_id, .role = role}, terms.hosts, validity));
  return absl::OkStatus();
}

absl::StatusOr<bool> RenewRunCertificates(const std::string& folder, absl::Time now) {
  bool any = false;
  for (const CallerRole role : kCallerRoles) {
    const std::string path = CertificatePath(folder, role);
    const absl::StatusOr<std::string> pem = ReadFile(path, kMaxPemBytes);
    if (absl::IsNotFound(pem.status())) continue;
    RETURN_IF_ERROR(pem.status());
    const absl::StatusOr<CertificateFacts> facts = ReadCertificate(*pem);
    RETURN_IF_ERROR(Annotate(facts.status(), path));
    if (!IsDue(facts->validity, now)) continue;
    const absl::StatusOr<bool> renewed = RenewOne(folder, role, *facts, now);
    RETURN_IF_ERROR(
        Annotate(renewed.status(),
                 absl::StrCat(path, " ends at ", absl::FormatTime(facts->validity.not_after, absl::UTCTimeZone()),
                              " and cannot be renewed")));
    any = true;
  }
  return any;
}

}  // namespace grpo::rpc
