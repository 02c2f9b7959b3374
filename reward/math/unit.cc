#include "reward/math/unit.h"

#include <udunits2.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace grpo::math {
namespace {

using absl::string_view;

// A unit: its names, the first of which is ours, and its definition for UDUNITS; a definition in braces is a base of
// our own with a factor: money, and the months that UDUNITS measures in seconds.
struct Entry {
  string_view names, definition;
};

constexpr Entry kUnits[] = {
    {"meter m meters metre metres", "meter"},
    {"kilometer km kilometers kilometre kilometres kms", "kilometer"},
    {"centimeter cm centimeters centimetre centimetres cms", "centimeter"},
    {"millimeter mm millimeters millimetre millimetres", "millimeter"},
    {"decimeter dm decimeters", "decimeter"},
    {"micrometer um micrometers micron microns", "micrometer"},
    {"nanometer nm nanometers", "nanometer"},
    {"inch in inches", "inch"},
    {"foot ft feet", "international_foot"},
    {"yard yd yards yds", "yard"},
    {"mile mi miles", "mile"},
    {"acre acres", "4046.8564224 m2"},
    {"hectare ha hectares", "hectare"},
    {"liter L l liters litre litres", "liter"},
    {"milliliter mL ml milliliters millilitre millilitres", "milliliter"},
    {"centiliter cL cl centiliters", "centiliter"},
    {"gallon gal gallons", "US_liquid_gallon"},
    {"quart qt quarts", "US_liquid_quart"},
    {"pint pt pints", "US_liquid_pint"},
    {"cup cups", "US_liquid_cup"},
    {"tablespoon tbsp tablespoons", "tablespoon"},
    {"teaspoon tsp teaspoons", "teaspoon"},
    {"gram g grams gm", "gram"},
    {"kilogram kg kilograms kgs kilo kilos", "kilogram"},
    {"milligram mg milligrams", "milligram"},
    {"tonne tonnes", "tonne"},
    {"ton tons", "short_ton"},
    {"pound lb lbs pounds", "0.45359237 kg"},
    {"ounce oz ounces", "0.028349523125 kg"},
    {"second s sec secs seconds", "second"},
    {"millisecond ms milliseconds", "millisecond"},
    {"minute min mins minutes", "minute"},
    {"hour h hr hrs hours", "hour"},
    {"day days", "day"},
    {"week weeks wk wks", "7 day"},
    {"month months", "{month}"},
    {"year yr yrs years", "{12 month}"},
    {"decade decades", "{120 month}"},
    {"century centuries", "{1200 month}"},
    {"degree deg degs degrees", "{degree}"},
    {"radian rad rads radians", "{radian}"},
    {"degC celsius", "{degC}"},
    {"degF fahrenheit", "{degF}"},
    {"kelvin K kelvins", "kelvin"},
    {"newton N newtons", "newton"},
    {"joule J joules", "joule"},
    {"kilojoule kJ kilojoules", "kilojoule"},
    {"watt W watts", "watt"},
    {"kilowatt kW kilowatts", "kilowatt"},
    {"volt V volts", "volt"},
    {"ampere A amp amps amperes", "ampere"},
    {"ohm ohms", "ohm"},
    {"pascal Pa pascals", "pascal"},
    {"kilopascal kPa kilopascals", "kilopascal"},
    {"atmosphere atm atmospheres", "101325 Pa"},
    {"hertz Hz", "hertz"},
    {"mole mol moles mols", "mole"},
    {"coulomb coulombs", "coulomb"},
    {"farad farads", "farad"},
    {"tesla teslas", "tesla"},
    {"mph MPH", "mile/hour"},
    {"kph kmh kmph", "kilometer/hour"},
    {"usd USD dollar dollars bucks buck", "{usd}"},
    {"cent cents", "{1/100 usd}"},
    {"dime dimes", "{1/10 usd}"},
    {"nickel nickels", "{1/20 usd}"},
    {"euro euros EUR", "{euro}"},
    {"gbp GBP", "{gbp}"},
    {"yen JPY", "{yen}"},
    {"yuan RMB CNY", "{yuan}"},
    {"rupee rupees INR Rs", "{rupee}"},
    {"unit units", "{unit}"},
    {"bit bits", "{bit}"},
    {"byte bytes", "{8 bit}"},
};

// "0.0254 m", "1609.344 m.s-1", "kg": a factor and names with exponents, as UDUNITS writes definitions.
std::optional<Dimension> FromDefinition(string_view text) {
  Dimension dimension;
  std::vector<string_view> parts = absl::StrSplit(text, absl::ByAnyChar(" ."), absl::SkipEmpty());
  const size_t blank = text.find(' ');
  const string_view head = text.substr(0, blank);
  double unused;
  if (absl::SimpleAtod(head, &unused)) {
    const std::vector<string_view> mantissa = absl::StrSplit(head, absl::MaxSplits('e', 1));
    int exponent = 0;
    if (mantissa.size() == 2 && !absl::SimpleAtoi(mantissa[1], &exponent)) return std::nullopt;
    std::string digits(mantissa[0].data(), mantissa[0].size());
    const size_t point = digits.find('.');
    if (point != std::string::npos) {
      exponent -= static_cast<int>(digits.size() - point - 1);
      digits.erase(point, 1);
    }
    dimension.factor = Rational::FromDigits(digits, exponent);
    text = blank == string_view::npos ? string_view() : text.substr(blank + 1);
    parts = absl::StrSplit(text, absl::ByAnyChar(" ."), absl::SkipEmpty());
  }
  for (const string_view part : parts) {
    const size_t name_end = part.find_first_of("-0123456789");
    int exponent = 1;
    if (name_end != string_view::npos && !absl::SimpleAtoi(part.substr(name_end), &exponent)) return std::nullopt;
    dimension.base[std::string(part.substr(0, name_end))] += exponent;
  }
  return dimension;
}

// "{1/100 usd}", "{month}".
Dimension OwnDefinition(string_view definition) {
  Dimension dimension;
  std::vector<string_view> parts = absl::StrSplit(definition.substr(1, definition.size() - 2), ' ');
  if (parts.size() == 2) {
    const std::vector<string_view> fraction = absl::StrSplit(parts[0], '/');
    dimension.factor = Rational::FromDigits(std::string(fraction[0]), 0);
    if (fraction.size() == 2) dimension.factor = dimension.factor / Rational::FromDigits(std::string(fraction[1]), 0);
  }
  dimension.base[std::string(parts.back())] = 1;
  return dimension;
}

struct Table {
  absl::flat_hash_map<std::string, std::string> names;
  absl::flat_hash_map<std::string, Dimension> dimensions;
};

const Table* ReadTable() {
  auto* table = new Table;
  ut_set_error_message_handler(ut_ignore);
  ut_system* system = ut_read_xml(nullptr);
  for (const Entry& entry : kUnits) {
    const std::vector<std::string> names = absl::StrSplit(entry.names, ' ');
    for (const std::string& name : names) table->names.emplace(name, names[0]);
    if (entry.definition[0] == '{') {
      table->dimensions.emplace(names[0], OwnDefinition(entry.definition));
      continue;
    }
    // Without UDUNITS's data a unit is equal to itself only.
    ut_unit* unit = system == nullptr ? nullptr : ut_parse(system, std::string(entry.definition).c_str(), UT_ASCII);
    char buffer[256];
    const int length = unit == nullptr ? -1 : ut_format(unit, buffer, sizeof(buffer), UT_ASCII | UT_DEFINITION);
    if (unit != nullptr) ut_free(unit);
    if (length <= 0 || length >= static_cast<int>(sizeof(buffer))) continue;
    std::optional<Dimension> dimension = FromDefinition(string_view(buffer, length));
    if (dimension.has_value()) table->dimensions.emplace(names[0], *std::move(dimension));
  }
  if (system != nullptr) ut_free_system(system);
  return table;
}

const Table& Units() {
  static const Table& table = *ReadTable();
  return table;
}

}  // namespace

std::string UnitName(string_view word) {
  const Table& table = Units();
  auto found = table.names.find(word);
  // "Hours", but "M" is no meter.
  if (found == table.names.end() && word.size() > 2) found = table.names.find(absl::AsciiStrToLower(word));
  return found == table.names.end() ? "" : found->second;
}

Dimension DimensionOf(string_view unit) {
  Dimension result;
  for (const string_view factor : absl::StrSplit(unit, '*')) {
    const std::pair<string_view, string_view> parts = absl::StrSplit(factor, absl::MaxSplits('^', 1));
    int exponent = 1;
    if (!parts.second.empty() && (!absl::SimpleAtoi(parts.second, &exponent) || std::abs(exponent) > 9)) exponent = 1;
    const auto found = Units().dimensions.find(parts.first);
    if (found == Units().dimensions.end()) {
      result.base[std::string(parts.first)] += exponent;
      continue;
    }
    result.factor = result.factor * found->second.factor.Pow(exponent);
    for (const auto& [name, power] : found->second.base) result.base[name] += power * exponent;
  }
  for (auto it = result.base.begin(); it != result.base.end();)
    it = it->second == 0 ? result.base.erase(it) : std::next(it);
  return result;
}

}  // namespace grpo::math
