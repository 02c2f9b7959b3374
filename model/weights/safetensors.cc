#include "model/weights/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/strict_json.h"

namespace grpo {
namespace {

using nlohmann::json;

constexpr uint64_t kPrefixBytes = 8;
// The reference library's limit.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr char kMetadataKey[] = "__metadata__";

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("safetensors: ", what));
}

absl::Status MalformedTensor(absl::string_view name, absl::string_view what) {
  return Malformed(absl::StrCat("tensor \"", name, "\": ", what));
}

// Bytes of one element; 0 for a name that is no dtype.
int64_t DtypeBytes(absl::string_view dtype) {
  if (dtype == "F64" || dtype == "I64" || dtype == "U64") return 8;
  if (dtype == "F32" || dtype == "I32" || dtype == "U32") return 4;
  if (dtype == "F16" || dtype == "BF16" || dtype == "I16" || dtype == "U16") return 2;
  if (dtype == "BOOL" || dtype == "U8" || dtype == "I8" || dtype == "F8_E4M3" || dtype == "F8_E5M2") return 1;
  return 0;
}

// A count or an offset; nullopt for whatever does not fit int64 from 0.
std::optional<int64_t> NonNegative(const json& value) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
  return value.get<int64_t>();
}

absl::StatusOr<SafetensorsEntry> ParseEntry(const std::string& name, const json& value, absl::string_view data) {
  if (!value.is_object()) return MalformedTensor(name, absl::StrCat("is not an object but ", ShowJson(value)));
  for (const auto& [key, unused] : value.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets")
      return MalformedTensor(name, absl::StrCat("unknown key \"", key, "\""));
  }
  SafetensorsEntry entry;
  entry.name = name;
  const json dtype = value.value("dtype", json()), shape = value.value("shape", json()),
             offsets = value.value("data_offsets", json());
  if (!dtype.is_string()) return MalformedTensor(name, "dtype is missing or not a text");
  entry.dtype = dtype.get<std::string>();
  const int64_t element_bytes = DtypeBytes(entry.dtype);
  if (element_bytes == 0) return MalformedTensor(name, absl::StrCat("unknown dtype ", ShowJson(dtype)));

  if (!shape.is_array()) return MalformedTensor(name, "shape is missing or not a list");
  int64_t num_bytes = element_bytes;
  for (const json& size : shape) {
    const std::optional<int64_t> extent = NonNegative(size);
    if (!extent.has_value())
      return MalformedTensor(name, absl::StrCat("shape holds ", ShowJson(size), ", expected whole numbers from 0"));
    if (__builtin_mul_overflow(num_bytes, *extent, &num_bytes)) {
      return MalformedTensor(name, absl::StrCat("shape ", ShowJson(shape), " overflows"));
    }
    entry.shape.push_back(*extent);
  }

  if (!offsets.is_array() || offsets.size() != 2) return MalformedTensor(name, "data_offsets is missing or not a pair");
  const std::optional<int64_t> begin = NonNegative(offsets[0]), end = NonNegative(offsets[1]);
  if (!begin.has_value() || !end.has_value() || *begin > *end || *end > static_cast<int64_t>(data.size())) {
    return MalformedTensor(name, absl::StrCat("data_offsets ", ShowJson(offsets), " do not lie within the ",
                                              data.size(), " bytes of data"));
  }
  if (*end - *begin != num_bytes) {
    return MalformedTensor(name, absl::StrCat("has ", *end - *begin, " bytes, but dtype ", entry.dtype, " and shape ",
                                              ShowJson(shape), " need ", num_bytes));
  }
  entry.bytes = data.substr(*begin, num_bytes);
  return entry;
}

absl::Status ParseMetadata(const json& value, std::map<std::string, std::string>* metadata) {
  if (!value.is_object()) return Malformed("__metadata__ is not an object");
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) return Malformed(absl::StrCat("__metadata__ entry \"", key, "\" is not a text"));
    if (metadata != nullptr) metadata->emplace(key, text.get<std::string>());
  }
  return absl::OkStatus();
}

// The entries, sorted by place, must tile the data.
absl::Status CheckTiling(const std::vector<SafetensorsEntry>& entries, absl::string_view data) {
  const char* expected = data.data();
  for (const SafetensorsEntry& entry : entries) {
    if (entry.bytes.data() < expected) return MalformedTensor(entry.name, "overlaps the tensor before it");
    if (entry.bytes.data() > expected) {
      return MalformedTensor(entry.name,
                             absl::StrCat("a hole of ", entry.bytes.data() - expected, " bytes lies before it"));
    }
    expected += entry.bytes.size();
  }
  const int64_t trailing = data.data() + data.size() - expected;
  return trailing == 0 ? absl::OkStatus() : Malformed(absl::StrCat(trailing, " bytes belong to no tensor"));
}

}  // namespace

absl::StatusOr<std::vector<SafetensorsEntry>> ParseSafetensors(absl::string_view buffer,
                                                               std::map<std::string, std::string>* metadata) {
  if (buffer.size() < kPrefixBytes)
    return Malformed(absl::StrCat("the file has ", buffer.size(), " bytes, too few for a header"));
  uint64_t header_bytes = 0;
  for (uint64_t i = 0; i < kPrefixBytes; ++i)
    header_bytes |= uint64_t{static_cast<unsigned char>(buffer[i])} << (8 * i);
  if (header_bytes > kMaxHeaderBytes)
    return Malformed(absl::StrCat("the header claims ", header_bytes, " bytes, more than ", kMaxHeaderBytes));
  if (header_bytes > buffer.size() - kPrefixBytes) {
    return Malformed(
        absl::StrCat("the header claims ", header_bytes, " bytes, but only ", buffer.size() - kPrefixBytes, " follow"));
  }
  const absl::string_view header_text = buffer.substr(kPrefixBytes, header_bytes),
                          data = buffer.substr(kPrefixBytes + header_bytes);
  if (!absl::StartsWith(header_text, "{")) return Malformed("the header does not begin with {");
  ASSIGN_OR_RETURN(const json header, ParseJsonObject(header_text, "safetensors: the header"));

  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == kMetadataKey) {
      RETURN_IF_ERROR(ParseMetadata(value, metadata));
      continue;
    }
    ASSIGN_OR_RETURN(SafetensorsEntry entry, ParseEntry(name, value, data));
    entries.push_back(std::move(entry));
  }
  // Empty tensors share their place with the tensor that follows: they come first.
  std::sort(entries.begin(), entries.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::make_pair(a.bytes.data(), a.bytes.size()) < std::make_pair(b.bytes.data(), b.bytes.size());
  });
  RETURN_IF_ERROR(CheckTiling(entries, data));
  return entries;
}

std::string WriteSafetensors(const std::vector<SafetensorsEntry>& entries,
                             const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[kMetadataKey] = metadata;
  size_t offset = 0;
  for (const SafetensorsEntry& entry : entries) {
    header[entry.name] = {
        {"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", {offset, offset + entry.bytes.size()}}};
    offset += entry.bytes.size();
  }
  std::string header_text = header.dump();
  header_text.resize((header_text.size() + 7) / 8 * 8, ' ');
  std::string file;
  file.reserve(kPrefixBytes + header_text.size() + offset);
  for (uint64_t i = 0; i < kPrefixBytes; ++i) file.push_back(static_cast<char>(header_text.size() >> (8 * i)));
  file += header_text;
  for (const SafetensorsEntry& entry : entries) absl::StrAppend(&file, entry.bytes);
  return file;
}

}  // namespace grpo
