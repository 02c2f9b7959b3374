#include "data/parquet.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <exception>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "arrow/api.h"
#include "arrow/io/memory.h"
#include "arrow/util/byte_size.h"
#include "common/status_macros.h"
#include "common/utf8.h"
#include "parquet/arrow/reader.h"
#include "parquet/properties.h"

namespace grpo {
namespace {

// Rows that are decoded at a time: a repeated text of a megabyte is there as often.
constexpr int64_t kRowsAtATime = 64;
// Arrow allocates some for itself, however small the file.
constexpr int64_t kLeastPoolBytes = 64 << 20;

absl::StatusOr<Json> ToJson(const arrow::Scalar& scalar);

absl::StatusOr<Json> FloatToJson(double value) {
  if (!std::isfinite(value)) return absl::InvalidArgumentError("is a float that is no number");
  return Json(value);
}

absl::StatusOr<Json> Float32ToJson(float value) {
  std::array<char, 64> buffer;
  const char* const end = std::to_chars(buffer.begin(), buffer.end(), value).ptr;
  double shortest = value;
  std::from_chars(buffer.begin(), end, shortest);
  return FloatToJson(shortest);
}

absl::StatusOr<Json> BytesToJson(const arrow::BaseBinaryScalar& scalar) {
  const auto view = scalar.view();
  if (!IsUtf8(absl::string_view(view.data(), view.size())))
    return absl::InvalidArgumentError("holds bytes that are no UTF-8");
  return Json(std::string(view));
}

absl::StatusOr<Json> ListToJson(const arrow::Array& values) {
  Json list = Json::array();
  for (int64_t i = 0; i < values.length(); ++i) {
    const auto element = values.GetScalar(i);
    if (!element.ok()) return absl::InternalError(element.status().ToString());
    ASSIGN_OR_RETURN(Json json, ToJson(**element));
    list.push_back(std::move(json));
  }
  return list;
}

absl::StatusOr<Json> StructToJson(const arrow::StructScalar& scalar) {
  Json object = Json::object();
  const auto& type = static_cast<const arrow::StructType&>(*scalar.type);
  for (int i = 0; i < type.num_fields(); ++i) {
    ASSIGN_OR_RETURN(object[type.field(i)->name()], ToJson(*scalar.value[static_cast<size_t>(i)]));
  }
  return object;
}

// A map is a list of structs of key and value.
absl::StatusOr<Json> MapToJson(const arrow::BaseListScalar& scalar) {
  ASSIGN_OR_RETURN(const Json pairs, ListToJson(*scalar.value));
  Json object = Json::object();
  for (const Json& pair : pairs) {
    if (!pair.begin()->is_string()) return pairs;
    object[pair.begin()->get<std::string>()] = *std::next(pair.begin());
  }
  return object;
}

absl::StatusOr<Json> DictionaryToJson(const arrow::DictionaryScalar& scalar) {
  const auto value = scalar.GetEncodedValue();
  if (!value.ok()) return absl::InternalError(value.status().ToString());
  return ToJson(**value);
}

template <class Scalar>
Json Number(const arrow::Scalar& scalar) {
  return Json(static_cast<const Scalar&>(scalar).value);
}

absl::StatusOr<Json> NumberToJson(const arrow::Scalar& scalar) {
  switch (scalar.type->id()) {
    case arrow::Type::INT8:
      return Number<arrow::Int8Scalar>(scalar);
    case arrow::Type::INT16:
      return Number<arrow::Int16Scalar>(scalar);
    case arrow::Type::INT32:
      return Number<arrow::Int32Scalar>(scalar);
    case arrow::Type::INT64:
      return Number<arrow::Int64Scalar>(scalar);
    case arrow::Type::UINT8:
      return Number<arrow::UInt8Scalar>(scalar);
    case arrow::Type::UINT16:
      return Number<arrow::UInt16Scalar>(scalar);
    case arrow::Type::UINT32:
      return Number<arrow::UInt32Scalar>(scalar);
    case arrow::Type::UINT64:
      return Number<arrow::UInt64Scalar>(scalar);
    case arrow::Type::FLOAT:
      return Float32ToJson(static_cast<const arrow::FloatScalar&>(scalar).value);
    case arrow::Type::DOUBLE:
      return FloatToJson(static_cast<const arrow::DoubleScalar&>(scalar).value);
    default:
      return Json(scalar.ToString());
  }
}

absl::StatusOr<Json> ToJson(const arrow::Scalar& scalar) {
  if (!scalar.is_valid) return Json();
  const arrow::Type::type id = scalar.type->id();
  if (id == arrow::Type::BOOL) return Number<arrow::BooleanScalar>(scalar);
  if (arrow::is_base_binary_like(id) || arrow::is_binary_view_like(id) || id == arrow::Type::FIXED_SIZE_BINARY) {
    return BytesToJson(static_cast<const arrow::BaseBinaryScalar&>(scalar));
  }
  // A map is a list too.
  if (id == arrow::Type::MAP) return MapToJson(static_cast<const arrow::BaseListScalar&>(scalar));
  if (arrow::is_list_like(id) || arrow::is_list_view(id)) {
    return ListToJson(*static_cast<const arrow::BaseListScalar&>(scalar).value);
  }
  if (id == arrow::Type::STRUCT) return StructToJson(static_cast<const arrow::StructScalar&>(scalar));
  if (id == arrow::Type::DICTIONARY) return DictionaryToJson(static_cast<const arrow::DictionaryScalar&>(scalar));
  return NumberToJson(scalar);
}

absl::StatusOr<Json> RowToJson(const arrow::RecordBatch& batch, int64_t row) {
  Json record = Json::object();
  for (int i = 0; i < batch.num_columns(); ++i) {
    const std::string& name = batch.column_name(i);
    const auto scalar = batch.column(i)->GetScalar(row);
    if (!scalar.ok()) return absl::InternalError(scalar.status().ToString());
    absl::StatusOr<Json> json = ToJson(**scalar);
    if (!json.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("the field \"", name, "\" ", json.status().message()));
    }
    if (!record.emplace(name, *std::move(json)).second) {
      return absl::InvalidArgumentError(absl::StrCat("the field \"", name, "\" stands there twice"));
    }
  }
  RETURN_IF_ERROR(CheckDepth(record));
  return record;
}

absl::Status TooLong(const std::string& path, int64_t max_bytes) {
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": the Parquet file unpacks to more than ", max_bytes, " bytes, the most that is read here"));
}

absl::Status Damaged(const std::string& path, const arrow::Status& status, int64_t max_bytes) {
  if (status.IsOutOfMemory()) return TooLong(path, max_bytes);
  return absl::DataLossError(absl::StrCat(path, ": the Parquet file cannot be read: ", status.message()));
}

// Arrow throws here and there, whatever it returns otherwise.
absl::Status ReadRows(absl::string_view content, const std::string& path, int64_t max_bytes, RecordSink sink) {
  arrow::CappedMemoryPool pool(arrow::default_memory_pool(), std::max(max_bytes, kLeastPoolBytes));
  parquet::arrow::FileReaderBuilder builder;
  const auto bytes = std::make_shared<arrow::Buffer>(reinterpret_cast<const uint8_t*>(content.data()),
                                                     static_cast<int64_t>(content.size()));
  parquet::ArrowReaderProperties properties(/*use_threads=*/false);
  properties.set_batch_size(kRowsAtATime);
  properties.set_pre_buffer(false);
  arrow::Status status =
      builder.Open(std::make_shared<arrow::io::BufferReader>(bytes), parquet::ReaderProperties(&pool));
  if (!status.ok()) return Damaged(path, status, max_bytes);
  std::unique_ptr<parquet::arrow::FileReader> reader;
  status = builder.memory_pool(&pool)->properties(properties)->Build(&reader);
  if (!status.ok()) return Damaged(path, status, max_bytes);
  auto batches = reader->GetRecordBatchReader();
  if (!batches.ok()) return Damaged(path, batches.status(), max_bytes);
  int64_t number = 0, num_bytes = 0;
  while (true) {
    std::shared_ptr<arrow::RecordBatch> batch;
    status = (*batches)->ReadNext(&batch);
    if (!status.ok()) return Damaged(path, status, max_bytes);
    if (batch == nullptr) return absl::OkStatus();
    // What the file says of itself is not trusted: offsets, and UTF-8.
    status = batch->ValidateFull();
    if (!status.ok()) return Damaged(path, status, max_bytes);
    const auto batch_bytes = arrow::util::ReferencedBufferSize(*batch);
    if (!batch_bytes.ok()) return Damaged(path, batch_bytes.status(), max_bytes);
    num_bytes += *batch_bytes;
    if (num_bytes > max_bytes) return TooLong(path, max_bytes);
    for (int64_t row = 0; row < batch->num_rows(); ++row) {
      ++number;
      RETURN_IF_ERROR(sink(RowToJson(*batch, row),
                           {.text = absl::StrCat(path, ": row ", number), .id = absl::StrCat("row/", number)}));
    }
  }
}

}  // namespace

bool IsParquet(absl::string_view content) {
  return absl::StartsWith(content, "PAR1");
}

absl::Status ReadParquet(absl::string_view content, const std::string& path, int64_t max_bytes, RecordSink sink) {
  try {
    return ReadRows(content, path, max_bytes, sink);
  } catch (const std::exception& error) {
    return absl::DataLossError(absl::StrCat(path, ": the Parquet file cannot be read: ", error.what()));
  }
}

}  // namespace grpo
