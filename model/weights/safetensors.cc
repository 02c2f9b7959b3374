#include "model/weights/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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

// Bits of one element; 0 for a name that is no dtype. F4 and F6 are packed: only their sum need be whole bytes.
uint64_t DtypeBits(absl::string_view dtype) {
  static const auto* const kBits = new std::map<absl::string_view, uint64_t>{
      {"F64", 64},        {"I64", 64},    {"U64", 64},    {"C64", 64},    {"F32", 32},    {"I32", 32},
      {"U32", 32},        {"F16", 16},    {"BF16", 16},   {"I16", 16},    {"U16", 16},    {"BOOL", 8},
      {"U8", 8},          {"I8", 8},      {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
      {"F8_E5M2FNUZ", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4}};
  const auto bits = kBits->find(dtype);
  return bits == kBits->end() ? 0 : bits->second;
}

// A count or an offset; nullopt for whatever does not fit int64 from 0.
std::optional<int64_t> NonNegative(const json& value) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
  return value.get<int64_t>();
}

// C programs would read a name, or a text of the metadata, only up to its NUL.
bool HoldsNul(absl::string_view text) {
  return absl::StrContains(text, '\0');
}

absl::StatusOr<SafetensorsEntry> ParseEntry(const std::string& name, const json& value, absl::string_view data) {
  if (HoldsNul(name)) return MalformedTensor(name.c_str(), "the name holds a NUL");
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
  if (DtypeBits(entry.dtype) == 0) return MalformedTensor(name, absl::StrCat("unknown dtype ", ShowJson(dtype)));

  if (!shape.is_array()) return MalformedTensor(name, "shape is missing or not a list");
  for (const json& size : shape) {
    const std::optional<int64_t> extent = NonNegative(size);
    if (!extent.has_value())
      return MalformedTensor(name, absl::StrCat("shape holds ", ShowJson(size), ", expected whole numbers from 0"));
    entry.shape.push_back(*extent);
  }
  const absl::StatusOr<int64_t> num_bytes = SafetensorsBytes(entry.dtype, entry.shape);
  if (!num_bytes.ok()) return MalformedTensor(name, num_bytes.status().message());

  if (!offsets.is_array() || offsets.size() != 2) return MalformedTensor(name, "data_offsets is missing or not a pair");
  const std::optional<int64_t> begin = NonNegative(offsets[0]), end = NonNegative(offsets[1]);
  if (!begin.has_value() || !end.has_value() || *begin > *end || *end > static_cast<int64_t>(data.size())) {
    return MalformedTensor(name, absl::StrCat("data_offsets ", ShowJson(offsets), " do not lie within the ",
                                              data.size(), " bytes of data"));
  }
  if (*end - *begin != *num_bytes) {
    return MalformedTensor(name, absl::StrCat("has ", *end - *begin, " bytes, but dtype ", entry.dtype, " and shape ",
                                              ShowJson(shape), " need ", *num_bytes));
  }
  entry.bytes = data.substr(*begin, *num_bytes);
  return entry;
}

absl::Status ParseMetadata(const json& value, std::map<std::string, std::string>* metadata) {
  if (!value.is_object()) return Malformed("__metadata__ is not an object");
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) return Malformed(absl::StrCat("__metadata__ entry \"", key, "\" is not a text"));
    if (HoldsNul(key) || HoldsNul(text.get_ref<const std::string&>()))
      return Malformed(absl::StrCat("__metadata__ entry \"", key.c_str(), "\" holds a NUL"));
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

absl::StatusOr<int64_t> SafetensorsBytes(absl::string_view dtype, const std::vector<int64_t>& shape) {
  const uint64_t bits = DtypeBits(dtype);
  if (bits == 0) return absl::InvalidArgumentError(absl::StrCat("unknown dtype ", dtype));
  const auto fail = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("shape [", absl::StrJoin(shape, ","), "] of ", dtype, what));
  };
  uint64_t size = 1;
  for (const int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(size, static_cast<uint64_t>(extent), &size)) return fail(" overflows");
  }
  if (__builtin_mul_overflow(size, bits, &size)) return fail(" overflows");
  if (size % 8 != 0) return fail(" is no whole number of bytes");
  return static_cast<int64_t>(size / 8);
}

std::string SafetensorsHeader(const std::vector<SafetensorsEntry>& entries,
                              const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[kMetadataKey] = metadata;
  int64_t offset = 0;
  for (const SafetensorsEntry& entry : entries) {
    const int64_t end = offset + SafetensorsBytes(entry.dtype, entry.shape).value();
    header[entry.name] = {{"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string prefix;
  for (uint64_t i = 0; i < kPrefixBytes; ++i) prefix.push_back(static_cast<char>(text.size() >> (8 * i)));
  return prefix + text;
}

std::string WriteSafetensors(const std::vector<SafetensorsEntry>& entries,
                             const std::map<std::string, std::string>& metadata) {
  std::string file = SafetensorsHeader(entries, metadata);
  size_t size = file.size();
  for (const SafetensorsEntry& entry : entries) size += entry.bytes.size();
  file.reserve(size);
  for (const SafetensorsEntry& entry : entries) absl::StrAppend(&file, entry.bytes);
  return file;
}

}  // namespace grpo
