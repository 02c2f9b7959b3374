// The strings of tools/parity/tokenizer_strings.py, made anew from the alphabets that the goldens carry.
#ifndef GRPO_TESTS_PARITY_TOKENIZER_STRINGS_H_
#define GRPO_TESTS_PARITY_TOKENIZER_STRINGS_H_

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/seeds.h"

namespace grpo {

class TokenizerStrings {
 public:
  // Of the goldens' `strings` and the text of the snippets.
  TokenizerStrings(const nlohmann::json& description, const std::string& snippets);

  // Number `number` of the composed strings.
  std::string String(uint64_t number) const;
  // One for each character of Unicode 14.
  size_t num_characters() const { return characters_.size(); }
  std::string OfCharacter(size_t index) const;

 private:
  std::string Piece(Rng& rng) const;
  // `count` draws from an alphabet.
  std::string Draw(const std::string& alphabet, int64_t count, Rng& rng) const;

  std::map<std::string, std::vector<std::string>> alphabets_;
  // Characters of the snippets, their lines, and the characters of Unicode.
  std::vector<std::string> snippets_, lines_, characters_;
};

}  // namespace grpo

#endif  // GRPO_TESTS_PARITY_TOKENIZER_STRINGS_H_
