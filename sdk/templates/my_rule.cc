// my_rule pays 1 when the last <answer> holds the reference answer, literally.
#include "grpo_rule.h"

namespace {

const char kBlanks[] = " \t\r\n\v\f";

std::string Trim(const std::string& text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
}

grpo_rule::Result Score(const grpo_rule::Request& request) {
  const std::string text = Trim(request.completion), open = "<answer>", close = "</answer>";
  const size_t begin = text.rfind(open);
  if (begin == std::string::npos || text.size() < begin + open.size() + close.size() ||
      text.compare(text.size() - close.size(), close.size(), close) != 0) {
    return {0, grpo_rule::kNoAnswer};
  }
  const std::string answer = Trim(text.substr(begin + open.size(), text.size() - close.size() - begin - open.size()));
  if (answer.find('<') != std::string::npos) return {0, grpo_rule::kNoAnswer};
  return {answer == Trim(request.answer) ? 1.0 : 0.0, grpo_rule::kScored, answer};
}

}  // namespace

int main() {
  return grpo_rule::Serve("my_rule", "1", Score);
}
