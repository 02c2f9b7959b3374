#include "common/rpc/tls.h"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/files.h"
#include "common/mutex.h"
#include "common/rpc/certificates.h"
#include "common/rpc/credentials.h"
#include "common/rpc/refusals.h"
#include "common/rpc/roles.h"
#include "common/rpc/status.h"
#include "common/status_macros.h"
#include "grpc/grpc_security_constants.h"
#include "grpcpp/security/auth_context.h"
#include "grpcpp/security/auth_metadata_processor.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_certificate_verifier.h"
#include "grpcpp/security/tls_credentials_options.h"

namespace grpo::rpc {
namespace {

using grpc::experimental::ExternalCertificateVerifier;
using grpc::experimental::FileWatcherCertificateProvider;
using grpc::experimental::TlsCustomVerificationCheckRequest;

std::string Text(grpc::string_ref text) {
  return std::string(text.data(), text.size());
}
std::vector<std::string> Texts(const std::vector<grpc::string_ref>& texts) {
  std::vector<std::string> copies;
  for (const grpc::string_ref& text : texts) copies.push_back(Text(text));
  return copies;
}

// The three files, looked at once before gRPC watches them.
struct TlsFiles {
  std::string ca, cert, key;
};

// The run that the certificate in tls_cert is of; empty for none, and without a certificate. InvalidArgument names the
// key and the file.
absl::StatusOr<std::string> CheckFiles(const TlsFiles& files) {
  ASSIGN_OR_RETURN(const std::string authorities, ReadPem("tls_ca", files.ca));
  KeyPair pair;
  ASSIGN_OR_RETURN(pair.certificate, ReadPem("tls_cert", files.cert));
  ASSIGN_OR_RETURN(pair.key, ReadPem("tls_key", files.key));
  if (!files.ca.empty()) RETURN_IF_ERROR(Annotate(CheckAuthorities(authorities), absl::StrCat("tls_ca ", files.ca)));
  if (files.cert.empty()) return std::string();
  const absl::Status belongs = CheckKeyPair(pair);
  if (!belongs.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tls_cert ", files.cert, " and tls_key ", files.key,
                     " must be a PEM certificate and the private key that belongs to it: ", belongs.message()));
  }
  ASSIGN_OR_RETURN(const CertificateFacts facts, ReadCertificate(pair.certificate));
  const auto identity = FindIdentity(facts.uris);
  RETURN_IF_ERROR(Annotate(identity.status(), absl::StrCat("tls_cert ", files.cert)));
  return identity->has_value() ? (*identity)->run_id : std::string();
}

std::shared_ptr<FileWatcherCertificateProvider> Watch(const TlsFiles& files, int refresh_s) {
  return std::make_shared<FileWatcherCertificateProvider>(files.key, files.cert, files.ca,
                                                          static_cast<unsigned>(refresh_s));
}

// The last text that could be read from a file of authorities: one that is away for a moment changes nothing.
class Authorities {
 public:
  explicit Authorities(std::string path) : path_(std::move(path)) {}

  std::string Read() {
    absl::StatusOr<std::string> pem = ReadFile(path_, kMaxPemBytes);
    const MutexLock lock(&mutex_);
    if (pem.ok() && CheckAuthorities(*pem).ok()) pem_ = *std::move(pem);
    return pem_;
  }

 private:
  const std::string path_;
  Mutex mutex_;
  std::string pem_ ABSL_GUARDED_BY(mutex_);
};

// Why a caller is not believed, once OpenSSL has said so.
Refusal RefusalFor(Trust trust, const std::vector<std::string>& uris, const std::string& run_id) {
  if (trust == Trust::kExpired) return Refusal::kExpired;
  if (trust == Trust::kNotYetValid) return Refusal::kNotYetValid;
  // What it says of itself is not proven, but it is what whoever reads the numbers wants to know.
  const auto claimed = FindIdentity(uris);
  const bool of_other_run = claimed.ok() && claimed->has_value() && !run_id.empty() && (*claimed)->run_id != run_id;
  return of_other_run ? Refusal::kOtherRun : Refusal::kUntrusted;
}

// Looks at callers' certificates in OpenSSL's place, which would say nobody why it hung up. gRPC has seen by then that
// the caller has the certificate's key.
class CallerVerifier : public ExternalCertificateVerifier {
 public:
  CallerVerifier(std::string ca_path, std::string run_id)
      : authorities_(std::move(ca_path)), run_id_(std::move(run_id)) {}

  bool Verify(TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)> /*callback*/,
              grpc::Status* sync_status) override {
    *sync_status = ToGrpc(Check(*request));
    return true;
  }
  void Cancel(TlsCustomVerificationCheckRequest* /*request*/) override {}

 private:
  absl::Status Check(const TlsCustomVerificationCheckRequest& request) {
    const std::string certificate = Text(request.peer_cert());
    if (certificate.empty()) {
      return Refuse(Refusal::kNoCertificate, "a caller",
                    "it presents no certificate; tls_cert and tls_key of one that tls_ca signed let it in");
    }
    const TrustFinding found =
        CheckCaller(authorities_.Read(), certificate, Text(request.peer_cert_full_chain()), WallTime());
    if (found.trust == Trust::kTrusted) return absl::OkStatus();
    const std::vector<std::string> uris = Texts(request.uri_names());
    return Refuse(RefusalFor(found.trust, uris, run_id_),
                  absl::StrCat("a caller with the certificate of ",
                               uris.empty() ? Text(request.common_name()) : absl::StrJoin(uris, ", ")),
                  absl::StrCat(found.why, "; it needs one that tls_ca signed and that is not over"));
  }

  static absl::Status Refuse(Refusal refusal, const std::string& who, const std::string& why) {
    Refusals::OfProcess().Count(refusal, who, why);
    return absl::UnauthenticatedError(why);
  }

  Authorities authorities_;
  const std::string run_id_;
};

// Asks roles.inc before each call, of whatever service: gRPC calls no handler for what is refused here.
class RoleCheck : public grpc::AuthMetadataProcessor {
 public:
  explicit RoleCheck(std::string run_id) : run_id_(std::move(run_id)) {}

  bool IsBlocking() const override { return false; }

  grpc::Status Process(const InputMetadata& auth_metadata, grpc::AuthContext* context,
                       OutputMetadata* /*consumed_auth_metadata*/, OutputMetadata* /*response_metadata*/) override {
    const auto path = auth_metadata.find(":path");
    return ToGrpc(Check(Texts(context->FindPropertyValues(GRPC_PEER_URI_PROPERTY_NAME)),
                        path == auth_metadata.end() ? "" : Text(path->second)));
  }

 private:
  absl::Status Check(const std::vector<std::string>& uris, const std::string& method) const {
    const auto identity = FindIdentity(uris);
    if (!identity.ok()) return Refuse(Refusal::kUntrusted, uris, identity.status());
    // Not one of a run's own: as before there were roles.
    if (!identity->has_value()) return absl::OkStatus();
    if (!run_id_.empty() && (*identity)->run_id != run_id_) {
      return Refuse(Refusal::kOtherRun, uris,
                    absl::UnauthenticatedError(absl::StrCat("this is run ", run_id_, ", and the certificate is of run ",
                                                            (*identity)->run_id, ": give this run's (RUN/tls)")));
    }
    if (MayCall((*identity)->role, method)) return absl::OkStatus();
    return Refuse(Refusal::kWrongRole, uris,
                  absl::PermissionDeniedError(absl::StrCat("role ", CallerRoleName((*identity)->role), " may not call ",
                                                           method, "; that is for ", WhoMayCall(method),
                                                           ", whose certificate --tls-cert and --tls-key name")));
  }

  static absl::Status Refuse(Refusal refusal, const std::vector<std::string>& uris, const absl::Status& why) {
    Refusals::OfProcess().Count(refusal, absl::StrCat("a caller with the certificate of ", absl::StrJoin(uris, ", ")),
                                why.message());
    return absl::IsInvalidArgument(why) ? absl::UnauthenticatedError(why.message()) : why;
  }

  // Of the server; empty where its own certificate names none.
  const std::string run_id_;
};

// Whether the server is who the caller meant. OpenSSL has looked at the certificate before.
class ServerVerifier : public ExternalCertificateVerifier {
 public:
  explicit ServerVerifier(std::string run_id) : run_id_(std::move(run_id)) {}

  bool Verify(TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)> callback,
              grpc::Status* sync_status) override {
    if (IsOfOurRunAndAnyHost(*request)) return true;
    return host_name_.Verify(request, std::move(callback), sync_status);
  }
  void Cancel(TlsCustomVerificationCheckRequest* /*request*/) override {}

 private:
  bool IsOfOurRunAndAnyHost(const TlsCustomVerificationCheckRequest& request) const {
    if (run_id_.empty() || !request.dns_names().empty() || !request.ip_names().empty()) return false;
    const auto identity = FindIdentity(Texts(request.uri_names()));
    return identity.ok() && identity->has_value() && (*identity)->run_id == run_id_ && Serves((*identity)->role);
  }

  // Of the caller; empty where its own certificate names none.
  const std::string run_id_;
  grpc::experimental::HostNameCertificateVerifier host_name_;
};

std::shared_ptr<grpc::ChannelCredentials> WatchingCredentials(const TlsFiles& files, int refresh_s,
                                                              const std::string& run_id) {
  grpc::experimental::TlsChannelCredentialsOptions tls;
  tls.set_certificate_provider(Watch(files, refresh_s));
  tls.watch_root_certs();
  if (!files.cert.empty()) tls.watch_identity_key_cert_pairs();
  tls.set_certificate_verifier(ExternalCertificateVerifier::Create<ServerVerifier>(run_id));
  // Every call of a channel is for the channel's own host, and the verifier has spoken.
  tls.set_check_call_host(false);
  return grpc::experimental::TlsCredentials(tls);
}

// Those of files that live already, for each has a thread that reads them.
class SharedCredentials {
 public:
  static SharedCredentials& Get() {
    static auto* const shared = new SharedCredentials;
    return *shared;
  }

  std::shared_ptr<grpc::ChannelCredentials> Find(const TlsFiles& files, int refresh_s, const std::string& run_id) {
    const MutexLock lock(&mutex_);
    std::weak_ptr<grpc::ChannelCredentials>& known = known_[{files.ca, files.cert, files.key, refresh_s}];
    std::shared_ptr<grpc::ChannelCredentials> credentials = known.lock();
    if (credentials == nullptr) {
      credentials = WatchingCredentials(files, refresh_s, run_id);
      known = credentials;
    }
    return credentials;
  }

 private:
  Mutex mutex_;
  std::map<std::tuple<std::string, std::string, std::string, int>, std::weak_ptr<grpc::ChannelCredentials>> known_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(const ServerOptions& options) {
  if (options.tls_cert.empty()) return grpc::InsecureServerCredentials();
  const TlsFiles files = {.ca = options.tls_ca, .cert = options.tls_cert, .key = options.tls_key};
  ASSIGN_OR_RETURN(const std::string run_id, CheckFiles(files));
  grpc::experimental::TlsServerCredentialsOptions tls(Watch(files, options.tls_refresh_s));
  tls.watch_identity_key_cert_pairs();
  if (!files.ca.empty()) {
    tls.watch_root_certs();
    // Asked for, and looked at by the verifier: no connection without one gets any further.
    tls.set_cert_request_type(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_BUT_DONT_VERIFY);
    tls.set_certificate_verifier(ExternalCertificateVerifier::Create<CallerVerifier>(files.ca, run_id));
  }
  std::shared_ptr<grpc::ServerCredentials> credentials = grpc::experimental::TlsServerCredentials(tls);
  if (!files.ca.empty()) credentials->SetAuthMetadataProcessor(std::make_shared<RoleCheck>(run_id));
  return credentials;
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(const ClientOptions& options) {
  if (options.tls_cert.empty() != options.tls_key.empty() || (options.tls_ca.empty() && !options.tls_cert.empty())) {
    return absl::InvalidArgumentError(
        "TLS needs tls_ca (who signed the server's certificate); tls_cert and tls_key come together and beside it");
  }
  if (options.tls_ca.empty()) return grpc::InsecureChannelCredentials();
  const TlsFiles files = {.ca = options.tls_ca, .cert = options.tls_cert, .key = options.tls_key};
  ASSIGN_OR_RETURN(const std::string run_id, CheckFiles(files));
  return SharedCredentials::Get().Find(files, options.tls_refresh_s, run_id);
}

}  // namespace grpo::rpc
