#include "common/http/client.h"

#include <curl/curl.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/http/url.h"
#include "common/status_macros.h"

namespace grpo::http {
namespace {

void InitOnce() {
  static const CURLcode done = curl_global_init(CURL_GLOBAL_DEFAULT);
  (void)done;
}

long Milliseconds(absl::Duration duration) {  // NOLINT(google-runtime-int): libcurl's type
  return static_cast<long>(std::max<int64_t>(1, absl::ToInt64Milliseconds(duration)));
}

bool HasControls(absl::string_view text) {
  return std::any_of(text.begin(), text.end(), [](unsigned char c) { return absl::ascii_iscntrl(c); });
}

// What an error of libcurl's means to a caller (client.h).
absl::StatusCode CodeOf(CURLcode code) {
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return absl::StatusCode::kDeadlineExceeded;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
      return absl::StatusCode::kFailedPrecondition;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
      return absl::StatusCode::kInvalidArgument;
    default:
      return absl::StatusCode::kUnavailable;
  }
}

// curl_slist as a C++ object.
class HeaderList {
 public:
  ~HeaderList() { curl_slist_free_all(list_); }
  HeaderList() = default;
  HeaderList(const HeaderList&) = delete;
  HeaderList& operator=(const HeaderList&) = delete;
  void Add(const std::string& line) { list_ = curl_slist_append(list_, line.c_str()); }
  curl_slist* get() const { return list_; }

 private:
  curl_slist* list_ = nullptr;
};

absl::Status AddAll(const Headers& headers, HeaderList* list) {
  // Without it, libcurl asks for leave to send a large body and waits for a second where a server does not know that.
  list->Add("Expect:");
  bool has_type = false;
  for (const auto& [name, value] : headers) {
    if (name.empty() || HasControls(name) || HasControls(value)) {
      return absl::InvalidArgumentError(absl::StrCat("the header ", HasControls(name) ? "" : name,
                                                     " holds a control character, such as a line break"));
    }
    has_type |= absl::EqualsIgnoreCase(name, "content-type");
    list->Add(absl::StrCat(name, ": ", value));
  }
  if (!has_type) list->Add("Content-Type: application/json");
  return absl::OkStatus();
}

}  // namespace

// What libcurl's callbacks write to while a call is under way.
struct Client::Call {
  const ClientOptions& options;
  const std::atomic<bool>& cancelled;
  Response response = {};
  int64_t header_bytes = 0;
  bool too_large = false;
  char error[CURL_ERROR_SIZE] = {};

  // Takes a part of the body, or ends the call by taking nothing.
  static size_t OnBody(char* data, size_t, size_t size, void* self) {
    auto& call = *static_cast<Call*>(self);
    call.too_large |= static_cast<int64_t>(call.response.body.size() + size) > call.options.max_body_bytes;
    if (call.too_large) return 0;
    call.response.body.append(data, size);
    return size;
  }

  // Takes a line. A status line begins a new answer: before the last one there may be others (100 Continue, a proxy's).
  static size_t OnHeader(char* data, size_t, size_t size, void* self) {
    auto& call = *static_cast<Call*>(self);
    const absl::string_view line(data, size);
    call.header_bytes += static_cast<int64_t>(size);
    call.too_large |= call.header_bytes > call.options.max_header_bytes;
    if (call.too_large) return 0;
    if (absl::StartsWith(line, "HTTP/")) {
      call.response.headers.clear();
    } else if (const size_t colon = line.find(':'); colon != absl::string_view::npos) {
      call.response.headers[absl::AsciiStrToLower(line.substr(0, colon))] =
          std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
    }
    return size;
  }

  static int OnProgress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<const Call*>(self)->cancelled.load() ? 1 : 0;
  }
};

Client::Client(ClientOptions options) : options_(std::move(options)) {
  InitOnce();
}

Client::~Client() {
  for (void* const handle : idle_) curl_easy_cleanup(handle);
}

void* Client::Take() {
  {
    absl::MutexLock lock(&mutex_);
    if (!idle_.empty()) {
      void* const handle = idle_.back();
      idle_.pop_back();
      return handle;
    }
  }
  return curl_easy_init();
}

void Client::GiveBack(void* handle) {
  // Options refer to the call that is over; connections stay.
  curl_easy_reset(handle);
  absl::MutexLock lock(&mutex_);
  idle_.push_back(handle);
}

void Client::Configure(void* handle, Call* call) const {
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, call->error);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &Call::OnBody);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, call);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, &Call::OnHeader);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, call);
  curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, &Call::OnProgress);
  curl_easy_setopt(handle, CURLOPT_XFERINFODATA, call);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  // A proxy's own headers are none of the server's.
  curl_easy_setopt(handle, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 2L);
  if (!options_.ca_file.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, options_.ca_file.c_str());
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, Milliseconds(options_.connect_timeout));
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, Milliseconds(options_.timeout));
}

absl::StatusOr<Response> Client::Post(const std::string& url, const Headers& headers, absl::string_view body) {
  ASSIGN_OR_RETURN(const Url parsed, ParseUrl(url));
  HeaderList list;
  RETURN_IF_ERROR(AddAll(headers, &list));
  void* const handle = Take();
  if (handle == nullptr) return absl::UnavailableError("libcurl cannot make a handle: memory is short");
  Call call{.options = options_, .cancelled = cancelled_};
  Configure(handle, &call);
  curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, list.get());
  curl_easy_setopt(handle, CURLOPT_POST, 1L);
  curl_easy_setopt(handle, CURLOPT_POSTFIELDS, body.data());
  curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  const CURLcode code = cancelled_.load() ? CURLE_ABORTED_BY_CALLBACK : curl_easy_perform(handle);
  long status = 0;  // NOLINT(google-runtime-int): libcurl's type
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  GiveBack(handle);

  const std::string who = absl::StrCat(parsed.host, parsed.port.empty() ? "" : ":", parsed.port);
  if (code == CURLE_ABORTED_BY_CALLBACK) return absl::CancelledError(absl::StrCat("the call to ", who, " was ended"));
  if (call.too_large) {
    return absl::ResourceExhaustedError(absl::StrCat("the answer of ", who, " is larger than ", options_.max_body_bytes,
                                                     " bytes, or its headers than ", options_.max_header_bytes));
  }
  if (code != CURLE_OK) {
    return absl::Status(CodeOf(code),
                        absl::StrCat(who, ": ", call.error[0] != '\0' ? call.error : curl_easy_strerror(code)));
  }
  call.response.status = static_cast<int>(status);
  return std::move(call.response);
}

}  // namespace grpo::http
