// Problems of one's own: a file with one JSON object a line, gzip'ed or not. It is read whole, and every line is
// checked before the run starts.
#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/gzip.h"
#include "common/log.h"
#include "common/sha256.h"
#include "data/source_plugin.h"
#include "google/protobuf/util/json_util.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

using Json = nlohmann::json;

struct Options {
  std::string path;
  std::string problem_field = "problem", answer_field = "answer", completion_field = "completion", id_field = "id";
  std::string prompt_template = "{problem}";
  bool skip_bad_lines = false;
  int64_t max_line_bytes = 1 << 20;
  int64_t max_file_bytes = 1 << 30;

  template <class V>
  void Visit(V& v) {
    v("path", path, {.help = "The file, relative to the configuration's folder; gzip'ed or not.", .required = true});
    v("problem_field", problem_field, {.help = "Field that holds the problem, a text."});
    v("answer_field", answer_field,
      {.help = "Field that holds the reference answer, a text or a whole number; empty when the lines have none."});
    v("completion_field", completion_field,
      {.help = "Field that holds a completion to learn from (`algorithm: sft`), a text; lines may lack it."});
    v("id_field", id_field,
      {.help = "Field that names the problem, unique in the file; a line without it is named by its number "
               "(\"line/17\")."});
    v("template", prompt_template,
      {.help =
           "What the policy reads: {problem} is the problem, {x} the text field x of the line, {{ and }} are braces."});
    v("skip_bad_lines", skip_bad_lines,
      {.help = "Leave out, with a warning, lines that cannot be used; otherwise the first one is an error."});
    v("max_line_bytes", max_line_bytes,
      {.help = "A longer line cannot be used.", .unit = "bytes", .min = 2, .max = 1 << 21});
    v("max_file_bytes", max_file_bytes,
      {.help = "A file whose text, unpacked, is longer is an error; it is held in memory.",
       .unit = "bytes",
       .min = 2,
       .max = int64_t{1} << 40});
  }
};

// The template, cut into literals and the names of fields.
class Template {
 public:
  static absl::StatusOr<Template> Parse(const std::string& text) {
    Template parsed;
    std::string literal;
    for (size_t i = 0; i < text.size(); ++i) {
      const char c = text[i];
      if (c != '{' && c != '}') {
        literal += c;
      } else if (i + 1 < text.size() && text[i + 1] == c) {
        literal += c;
        ++i;
      } else if (const size_t close = text.find('}', i); c == '{' && close != std::string::npos) {
        parsed.parts_.push_back({.literal = std::exchange(literal, ""), .field = text.substr(i + 1, close - i - 1)});
        i = close;
      } else {
        return absl::InvalidArgumentError(absl::StrCat("the \"", std::string(1, c), "\" at byte ", i,
                                                       " of the template belongs to no {field}: write it twice"));
      }
    }
    parsed.tail_ = literal;
    return parsed;
  }

  // `problem` stands for {problem}. InvalidArgument when the line lacks a field.
  absl::StatusOr<std::string> Apply(const Json& line, const std::string& problem) const {
    std::string text;
    for (const Part& part : parts_) {
      absl::StrAppend(&text, part.literal);
      if (part.field == "problem") {
        absl::StrAppend(&text, problem);
        continue;
      }
      const auto field = line.find(part.field);
      if (field == line.end() || !field->is_string()) {
        return absl::InvalidArgumentError(
            absl::StrCat("the template needs the text field \"", part.field, "\", which this line lacks"));
      }
      absl::StrAppend(&text, field->get_ref<const std::string&>());
    }
    return absl::StrCat(text, tail_);
  }

 private:
  struct Part {
    std::string literal, field;
  };
  std::vector<Part> parts_;
  std::string tail_;
};

// Keeps nlohmann's words for what is wrong with a text, which parsing without exceptions drops.
class ErrorReader : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(size_t) override { return true; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    // "[json.exception...] parse error at line 1, column 9: syntax error ... - invalid literal; last read: '...'": the
    // last read bytes may be anything, so they are cut, and so are the internals in front.
    absl::string_view what = error.what();
    what = what.substr(0, what.find("; last read"));
    what.remove_prefix(std::min(what.find("] ") + 2, what.size()));
    if (absl::StartsWith(what, "parse error at ")) what.remove_prefix(std::min(what.find(": ") + 2, what.size()));
    message_ = absl::StrCat("byte ", position, ": ", what);
    return false;
  }
  const std::string& message() const { return message_; }

 private:
  std::string message_;
};

// Nesting of a line at most. Metadata crosses the wire as a Struct of up to three messages a level, and protobuf reads
// 100 deep.
constexpr int kMaxDepth = 16;

absl::StatusOr<Json> ParseLine(absl::string_view line) {
  std::set<std::string> keys;
  std::string twice;
  bool too_deep = false;
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::key && depth == 1 && !keys.insert(parsed.get<std::string>()).second) {
      twice = parsed.get<std::string>();
    }
    too_deep |= depth > kMaxDepth;
    // What is left out here is never built, so nothing later can recurse into it.
    return depth <= kMaxDepth;
  };
  Json json = Json::parse(line.begin(), line.end(), check, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    ErrorReader reader;
    Json::sax_parse(line.begin(), line.end(), &reader);
    return absl::InvalidArgumentError(absl::StrCat("this line is not JSON: ", reader.message()));
  }
  if (!json.is_object()) {
    return absl::InvalidArgumentError("this line is JSON but no object: write {\"problem\": ..., \"answer\": ...}");
  }
  if (too_deep) {
    return absl::InvalidArgumentError(absl::StrCat("this line is nested deeper than ", kMaxDepth, " levels"));
  }
  if (!twice.empty()) return absl::InvalidArgumentError(absl::StrCat("the field \"", twice, "\" stands there twice"));
  return json;
}

// Takes a text or whole number out of the line. A number with point or exponent would lose digits on its way through a
// double.
absl::StatusOr<std::string> TakeText(Json& line, const std::string& field, absl::string_view option) {
  const auto found = line.find(field);
  if (found == line.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("this line has no field \"", field, "\": set ", option, " if it has another name"));
  }
  if (!found->is_string() && !found->is_number_integer()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the field \"", field, "\" is neither a text nor a whole number: put it in quotes"));
  }
  const std::string text = found->is_string() ? found->get<std::string>() : found->dump();
  line.erase(found);
  return text;
}

class Reader {
 public:
  Reader(const Options& options, Template prompt_template) : options_(options), template_(std::move(prompt_template)) {}

  absl::StatusOr<DataItem> Read(absl::string_view line, int64_t line_number) {
    if (static_cast<int64_t>(line.size()) > options_.max_line_bytes) {
      return absl::InvalidArgumentError(absl::StrCat("this line has ", line.size(), " bytes, allowed are ",
                                                     options_.max_line_bytes, ": raise max_line_bytes"));
    }
    ASSIGN_OR_RETURN(Json json, ParseLine(line));
    DataItem item;
    v1::Prompt& prompt = item.prompt;
    // The template first: the fields it names may be taken below.
    const auto problem = json.find(options_.problem_field);
    if (problem == json.end() || !problem->is_string() || problem->get_ref<const std::string&>().empty()) {
      return absl::InvalidArgumentError(absl::StrCat("this line has no text in field \"", options_.problem_field,
                                                     "\": set problem_field if it has another name"));
    }
    ASSIGN_OR_RETURN(*prompt.mutable_text(), template_.Apply(json, problem->get<std::string>()));
    json.erase(problem);
    if (!options_.answer_field.empty()) {
      ASSIGN_OR_RETURN(*prompt.mutable_answer(), TakeText(json, options_.answer_field, "answer_field"));
    }
    if (const auto completion = json.find(options_.completion_field);
        completion != json.end() && completion->is_string()) {
      item.completion = completion->get<std::string>();
      json.erase(completion);
    }
    if (json.contains(options_.id_field)) {
      ASSIGN_OR_RETURN(*prompt.mutable_id(), TakeText(json, options_.id_field, "id_field"));
    } else {
      prompt.set_id(absl::StrCat("line/", line_number));
    }
    if (const auto [first, is_new] = line_of_id_.emplace(prompt.id(), line_number); !is_new) {
      return absl::InvalidArgumentError(
          absl::StrCat("the id \"", prompt.id(), "\" is that of line ", first->second, " already"));
    }
    if (!json.empty()) {
      const auto converted = google::protobuf::util::JsonStringToMessage(json.dump(), prompt.mutable_metadata());
      if (!converted.ok()) {
        return absl::InvalidArgumentError(
            absl::StrCat("the other fields cannot be kept as metadata: ", std::string(converted.message())));
      }
    }
    return item;
  }

 private:
  const Options& options_;
  const Template template_;
  std::unordered_map<std::string, int64_t> line_of_id_;
};

class Jsonl : public DataSource {
 public:
  Jsonl(std::vector<DataItem> items, std::string content_sha256)
      : items_(std::move(items)), content_sha256_(std::move(content_sha256)) {}
  int64_t size() const override { return static_cast<int64_t>(items_.size()); }
  DataItem At(int64_t index) const override { return items_.at(static_cast<size_t>(index)); }
  std::string content_sha256() const override { return content_sha256_; }

 private:
  const std::vector<DataItem> items_;
  const std::string content_sha256_;
};

absl::StatusOr<std::unique_ptr<DataSource>> Make(const Options& options, const DataSourceContext& context) {
  absl::StatusOr<Template> prompt_template = Template::Parse(options.prompt_template);
  if (!prompt_template.ok()) return SectionError(context.section, "template", prompt_template.status().message());
  const std::string path = (std::filesystem::path(context.base_folder) / options.path).lexically_normal().string();
  const absl::StatusOr<std::string> content = ReadMaybeGzip(path, options.max_file_bytes);
  if (!content.ok()) {
    const bool too_long = absl::IsInvalidArgument(content.status());
    const absl::Status placed = SectionError(
        context.section, "path",
        absl::StrCat(content.status().message(), too_long ? ": raise max_file_bytes if that is meant" : ""));
    return absl::Status(content.status().code(), placed.message());
  }
  Reader reader(options, *std::move(prompt_template));
  std::vector<DataItem> items;
  int64_t line_number = 0, num_skipped = 0;
  absl::string_view rest = *content;
  absl::ConsumePrefix(&rest, "\xef\xbb\xbf");
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const absl::string_view line = absl::StripAsciiWhitespace(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    ++line_number;
    if (line.empty()) continue;
    absl::StatusOr<DataItem> item = reader.Read(line, line_number);
    if (item.ok()) {
      items.push_back(*std::move(item));
      continue;
    }
    const std::string message = absl::StrCat(path, ":", line_number, ": ", item.status().message());
    if (!options.skip_bad_lines) {
      return absl::DataLossError(
          absl::StrCat(message, ". Mend the line, or set skip_bad_lines: true to leave such lines out"));
    }
    // The first few name the lines; thousands would hide everything else in the log.
    if (++num_skipped <= 10) spdlog::warn("skipped {}", message);
  }
  if (num_skipped > 0) spdlog::warn("{}: skipped {} bad lines, kept {}", path, num_skipped, items.size());
  if (items.empty()) {
    return absl::DataLossError(
        SectionError(context.section, "path", absl::StrCat(path, " holds no problem")).message());
  }
  return std::make_unique<Jsonl>(std::move(items), Sha256Hex(*content));
}

}  // namespace

DataSourcePlugin DataSource_jsonl() {
  return MakeDataSourcePlugin<Options>(
      "Problems of one's own, one JSON object a line; fields that have no other use become metadata.", Make);
}

}  // namespace grpo
