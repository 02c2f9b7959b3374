#include "reward/math/spelling.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace grpo::math {
namespace {

using absl::string_view;

struct Spelling {
  string_view from, to;
};

// Full-width and other digits are left out on purpose: look-alikes are no digits.
constexpr Spelling kUnicode[] = {
    {"\u2212", "-"},           {"\u2013", "-"},           {"\u2014", "-"},           {"\u2010", "-"},
    {"\u2011", "-"},           {"\u00d7", "\\times "},    {"\u00b7", "\\cdot "},     {"\u22c5", "\\cdot "},
    {"\u2219", "\\cdot "},     {"\u2217", "*"},           {"\u00f7", "\\div "},      {"\u2215", "/"},
    {"\u2044", "/"},           {"\u00b1", "\\pm "},       {"\u2213", "\\mp "},       {"\u00b0", "^\\circ "},
    {"\u00ba", "^\\circ "},    {"\u2218", "\\circ "},     {"\u2032", "'"},           {"\u2033", "''"},
    {"\u2019", "'"},           {"\u221e", "\\infty "},    {"\u2264", "\\leq "},      {"\u2265", "\\geq "},
    {"\u2a7d", "\\leq "},      {"\u2a7e", "\\geq "},      {"\u2260", "\\neq "},      {"\u2248", "\\approx "},
    {"\u2243", "\\approx "},   {"\u2261", "\\equiv "},    {"\u2208", "\\in "},       {"\u2209", "\\notin "},
    {"\u222a", "\\cup "},      {"\u2229", "\\cap "},      {"\u2216", "\\setminus "}, {"\u2205", "\\emptyset "},
    {"\u00d8", "\\emptyset "}, {"\u2282", "\\subset "},   {"\u2286", "\\subseteq "}, {"\u211d", "\\mathbb{R}"},
    {"\u2124", "\\mathbb{Z}"}, {"\u2115", "\\mathbb{N}"}, {"\u211a", "\\mathbb{Q}"}, {"\u2102", "\\mathbb{C}"},
    {"\u2227", "\\land "},     {"\u2228", "\\lor "},      {"\u2192", "\\to "},       {"\u21d2", "\\Rightarrow "},
    {"\u221a", "\\sqrt "},     {"\u221b", "\\cbrt "},     {"\u2220", "\\angle "},    {"\u2211", "\\sum "},
    {"\u220f", "\\prod "},     {"\u222b", "\\int "},      {"\u2026", "\\ldots "},    {"\u22ef", "\\ldots "},
    {"\u230a", "\\lfloor "},   {"\u230b", "\\rfloor "},   {"\u2308", "\\lceil "},    {"\u2309", "\\rceil "},
    {"\u27e8", "\\langle "},   {"\u27e9", "\\rangle "},   {"\u2329", "\\langle "},   {"\u232a", "\\rangle "},
    {"\u2223", "|"},           {"\u2236", ":"},           {"\uff1a", ":"},           {"\uff0c", ","},
    {"\uff08", "("},           {"\uff09", ")"},           {"\u00a0", " "},           {"\u2009", " "},
    {"\u202f", " "},           {"\u2002", " "},           {"\u2003", " "},           {"\u2005", " "},
    {"\u2006", " "},           {"\u2007", " "},           {"\u2008", " "},           {"\u200a", " "},
    {"\u200b", " "},           {"\ufeff", " "},           {"\u2061", " "},           {"\u2062", " "},
    {"\u2063", " "},           {"\u3000", " "},           {"\u00bd", "\\frac12 "},   {"\u00bc", "\\frac14 "},
    {"\u00be", "\\frac34 "},   {"\u2153", "\\frac13 "},   {"\u2154", "\\frac23 "},   {"\u2155", "\\frac15 "},
    {"\u2156", "\\frac25 "},   {"\u2157", "\\frac35 "},   {"\u2158", "\\frac45 "},   {"\u2159", "\\frac16 "},
    {"\u215a", "\\frac56 "},   {"\u215b", "\\frac18 "},   {"\u215c", "\\frac38 "},   {"\u215d", "\\frac58 "},
    {"\u215e", "\\frac78 "},   {"\u20ac", "\\euro "},     {"\u00a3", "\\pounds "},   {"\u00a5", "\\yen "},
    {"\u20b9", "\\rupee "},    {"\u00a2", "\\cents "},    {"\u03b1", "\\alpha "},    {"\u03b2", "\\beta "},
    {"\u03b3", "\\gamma "},    {"\u03b4", "\\delta "},    {"\u03b5", "\\epsilon "},  {"\u03b6", "\\zeta "},
    {"\u03b7", "\\eta "},      {"\u03b8", "\\theta "},    {"\u03b9", "\\iota "},     {"\u03ba", "\\kappa "},
    {"\u03bb", "\\lambda "},   {"\u03bc", "\\mu "},       {"\u00b5", "\\mu "},       {"\u03bd", "\\nu "},
    {"\u03be", "\\xi "},       {"\u03c0", "\\pi "},       {"\u03c1", "\\rho "},      {"\u03c3", "\\sigma "},
    {"\u03c4", "\\tau "},      {"\u03c6", "\\phi "},      {"\u03d5", "\\phi "},      {"\u03c7", "\\chi "},
    {"\u03c8", "\\psi "},      {"\u03c9", "\\omega "},    {"\u0393", "\\Gamma "},    {"\u0394", "\\Delta "},
    {"\u2206", "\\Delta "},    {"\u0398", "\\Theta "},    {"\u039b", "\\Lambda "},   {"\u03a0", "\\Pi "},
    {"\u03a3", "\\Sigma "},    {"\u03a6", "\\Phi "},      {"\u03a8", "\\Psi "},      {"\u03a9", "\\Omega "},
};

constexpr Spelling kSynonyms[] = {
    {"dfrac", "frac"},
    {"tfrac", "frac"},
    {"cfrac", "frac"},
    {"dbinom", "binom"},
    {"tbinom", "binom"},
    {"choose", "choose"},
    {"le", "leq"},
    {"leqslant", "leq"},
    {"ge", "geq"},
    {"geqslant", "geq"},
    {"ne", "neq"},
    {"gt", "gt"},
    {"lt", "lt"},
    {"ast", "times"},
    {"cdot", "times"},
    {"bullet", "times"},
    {"varnothing", "emptyset"},
    {"empty", "emptyset"},
    {"degree", "circ"},
    {"lbrace", "{"},
    {"rbrace", "}"},
    {"varepsilon", "epsilon"},
    {"varphi", "phi"},
    {"vartheta", "theta"},
    {"arctan", "atan"},
    {"arcsin", "asin"},
    {"arccos", "acos"},
    {"arccot", "acot"},
    {"tg", "tan"},
    {"ctg", "cot"},
    {"cotg", "cot"},
    {"arctg", "atan"},
    {"cosec", "csc"},
    {"lbrack", "["},
    {"rbrack", "]"},
    {"lvert", "|"},
    {"rvert", "|"},
    {"vert", "|"},
    {"mid", "mid"},
    {"simeq", "approx"},
    {"sim", "approx"},
    {"approxeq", "approx"},
    {"doteq", "approx"},
    {"wedge", "land"},
    {"vee", "lor"},
    {"dots", "ldots"},
    {"cdots", "ldots"},
    {"dotsc", "ldots"},
    {"to", "to"},
    {"rightarrow", "to"},
    {"implies", "Rightarrow"},
    {"sup", "sup"},
    {"smallsetminus", "setminus"},
    {"backslash", "setminus"},
    {"cup", "cup"},
    {"bigcup", "cup"},
    {"bigcap", "cap"},
    {"lg", "lg"},
    {"operatorname", "operatorname"},
    {"binomial", "binom"},
    {"newline", "\\"},
    {"cr", "\\"},
    {"tabularnewline", "\\"},
    {"colon", ":"},
    {"pounds", "pounds"},
    {"texteuro", "euro"},
    {"textdegree", "circ"},
    {"prime", "prime"},
    {"arcsinh", "asinh"},
    {"arccosh", "acosh"},
    {"arctanh", "atanh"},
};

constexpr string_view kLayout[] = {
    "left",      "right",      "middle",    "big",        "Big",          "bigg",        "Bigg",  "bigl",
    "bigr",      "Bigl",       "Bigr",      "biggl",      "biggr",        "Biggl",       "Biggr", "displaystyle",
    "quad",      "qquad",      "textstyle", "limits",     "nolimits",     "scriptstyle", "hfill", "allowbreak",
    "nobreak",   "thinspace",  "medspace",  "thickspace", "negthinspace", "noindent",    "space", "enspace",
    "hline",     "normalsize", "large",     "Large",      "rm",           "bf",          "it",    "tt",
    "centering", "tag",        "notag",     "nonumber",   "strut",        "mathstrut",
};

constexpr string_view kWrappers[] = {
    "text",      "textbf",     "textit", "textrm",     "textsf",     "texttt",       "textnormal", "mathrm", "mathbf",
    "mathit",    "mathsf",     "mathtt", "mathnormal", "mbox",       "hbox",         "boxed",      "fbox",   "emph",
    "underline", "boldsymbol", "bm",     "pmb",        "ensuremath", "operatorname", "mathop",     "rlap",   "smash",
    "overbrace", "color",      "textup", "mathord",    "mathrel",    "mathbin",
};

constexpr Spelling kWords[] = {
    {"sqrt", "sqrt"},
    {"cbrt", "cbrt"},
    {"pi", "pi"},
    {"infinity", "infty"},
    {"inf", "infty"},
    {"oo", "infty"},
    {"sin", "sin"},
    {"cos", "cos"},
    {"tan", "tan"},
    {"cot", "cot"},
    {"sec", "sec"},
    {"csc", "csc"},
    {"arcsin", "asin"},
    {"arccos", "acos"},
    {"arctan", "atan"},
    {"asin", "asin"},
    {"acos", "acos"},
    {"atan", "atan"},
    {"sinh", "sinh"},
    {"cosh", "cosh"},
    {"tanh", "tanh"},
    {"log", "log"},
    {"ln", "ln"},
    {"lg", "lg"},
    {"exp", "exp"},
    {"abs", "abs"},
    {"floor", "floor"},
    {"ceil", "ceil"},
    {"gcd", "gcd"},
    {"lcm", "lcm"},
    {"binomial", "binom"},
    {"binom", "binom"},
    {"alpha", "alpha"},
    {"beta", "beta"},
    {"gamma", "gamma"},
    {"delta", "delta"},
    {"epsilon", "epsilon"},
    {"theta", "theta"},
    {"lambda", "lambda"},
    {"mu", "mu"},
    {"phi", "phi"},
    {"rho", "rho"},
    {"sigma", "sigma"},
    {"omega", "omega"},
    {"factorial", "factorial"},
    {"union", "cup"},
    {"emptyset", "emptyset"},
    {"frac", "frac"},
    {"sqr", "sqr"},
};

template <size_t N>
absl::flat_hash_map<string_view, string_view> MapOf(const Spelling (&table)[N]) {
  absl::flat_hash_map<string_view, string_view> map;
  for (const Spelling& entry : table) map.emplace(entry.from, entry.to);
  return map;
}

string_view Find(const absl::flat_hash_map<string_view, string_view>& map, string_view key) {
  const auto found = map.find(key);
  return found == map.end() ? string_view() : found->second;
}

struct UnicodeSpelling {
  string_view latex;
  size_t num_bytes = 0;
};

// LaTeX for a character beyond ASCII at the head of `text`, with its length in bytes; length 0 when there is none.
UnicodeSpelling LatexOfUnicode(string_view text) {
  static const auto& map = *new absl::flat_hash_map<string_view, string_view>(MapOf(kUnicode));
  for (size_t num_bytes = 3; num_bytes >= 2; --num_bytes) {
    if (text.size() < num_bytes) continue;
    const string_view latex = Find(map, text.substr(0, num_bytes));
    if (!latex.empty()) return {latex, num_bytes};
  }
  return {};
}

// The digit or sign of a superscript or subscript at the head of `text`; length 0 when there is none.
struct Script {
  char kind = 0, character = 0;
  size_t num_bytes = 0;
};

Script ScriptAt(string_view text) {
  if (text.size() >= 2 && text[0] == '\xc2') {
    const char digit = text[1] == '\xb2' ? '2' : text[1] == '\xb3' ? '3' : text[1] == '\xb9' ? '1' : 0;
    if (digit != 0) return {'^', digit, 2};
  }
  if (text.size() < 3 || text[0] != '\xe2') return {};
  const int code = static_cast<unsigned char>(text[2]);
  if (text[1] == '\x81') {
    if (code == 0xb0 || (code >= 0xb4 && code <= 0xb9)) return {'^', static_cast<char>('0' + code - 0xb0), 3};
    if (code == 0xba) return {'^', '+', 3};
    if (code == 0xbb) return {'^', '-', 3};
    if (code == 0xbf) return {'^', 'n', 3};
  }
  if (text[1] == '\x82' && code >= 0x80 && code <= 0x89) return {'_', static_cast<char>('0' + code - 0x80), 3};
  return {};
}

}  // namespace

std::string WithoutUnicode(string_view text) {
  std::string result;
  result.reserve(text.size() + 16);
  while (!text.empty()) {
    if (absl::ascii_isascii(text[0])) {
      result += text[0];
      text.remove_prefix(1);
      continue;
    }
    Script script = ScriptAt(text);
    if (script.num_bytes > 0) {
      result += script.kind;
      result += '{';
      for (const char kind = script.kind; script.num_bytes > 0 && script.kind == kind; script = ScriptAt(text)) {
        result += script.character;
        text.remove_prefix(script.num_bytes);
      }
      result += '}';
      continue;
    }
    const UnicodeSpelling spelling = LatexOfUnicode(text);
    if (spelling.num_bytes == 0) {
      result += text[0];
      text.remove_prefix(1);
      continue;
    }
    result.append(spelling.latex.data(), spelling.latex.size());
    text.remove_prefix(spelling.num_bytes);
  }
  return result;
}

string_view CommandSynonym(string_view command) {
  static const auto& map = *new absl::flat_hash_map<string_view, string_view>(MapOf(kSynonyms));
  const string_view synonym = Find(map, command);
  return synonym.empty() ? command : synonym;
}

bool IsKnownCommand(string_view command) {
  constexpr string_view kOthers[] = {"frac", "times", "pm",  "mp",    "cup",   "cap",
                                     "in",   "leq",   "geq", "infty", "begin", "end"};
  return command.size() > 1 && (CommandSynonym(command) != command || IsLayoutCommand(command) ||
                                IsWrapperCommand(command) || !CommandOfWord(command).empty() ||
                                std::find(std::begin(kOthers), std::end(kOthers), command) != std::end(kOthers));
}

bool IsLayoutCommand(string_view command) {
  static const auto& set = *new absl::flat_hash_set<string_view>(std::begin(kLayout), std::end(kLayout));
  return set.contains(command);
}

bool IsWrapperCommand(string_view command) {
  static const auto& set = *new absl::flat_hash_set<string_view>(std::begin(kWrappers), std::end(kWrappers));
  return set.contains(command);
}

string_view CommandOfWord(string_view word) {
  static const auto& map = *new absl::flat_hash_map<string_view, string_view>(MapOf(kWords));
  return Find(map, word);
}

}  // namespace grpo::math
