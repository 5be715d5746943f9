#include "scalars.hpp"

#include <charconv>

#include "globals.hpp"
#include "text.hpp"

namespace runrig::pickle::detail {
namespace {

[[noreturn]] void refuse(std::string_view what, std::string_view line) {
  throw Refused("'" + printable(line) + "' is no " + std::string(what));
}

/// The number of hexadecimal digits after "\u" or "\U".
std::size_t escape_digits(std::string_view rest) noexcept {
  if (rest.size() < 2 || rest[0] != '\\') return 0;
  return rest[1] == 'u' ? 4 : rest[1] == 'U' ? 8 : 0;
}

/// What stands after a backslash in a str of Python 2; returns how many characters that were. What is no escape stands
/// for itself, with its backslash.
std::size_t append_escaped(std::string& text, std::string_view rest) {
  constexpr std::string_view names = "\\'\"abfnrtv";
  constexpr std::string_view meanings = "\\'\"\a\b\f\n\r\t\v";
  if (const auto found = names.find(rest.front()); found != std::string_view::npos) {
    text.push_back(meanings[found]);
    return 1;
  }
  const bool hexadecimal = rest.front() == 'x';
  const auto digits = rest.substr(hexadecimal ? 1 : 0, hexadecimal ? 2 : 3);
  unsigned code = 0;
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code, hexadecimal ? 16 : 8);
  const auto used = static_cast<std::size_t>(stop - digits.data());
  if (error != std::errc() || (hexadecimal && used != 2)) {
    text.push_back('\\');
    return 0;
  }
  text.push_back(static_cast<char>(code & 0xFFU));
  return used + (hexadecimal ? 1 : 0);
}

}  // namespace

Object parse_integer_line(std::string_view line) {
  if (line == "00") return false;
  if (line == "01") return true;
  auto value = BigInt::from_decimal(line);
  if (!value) refuse("int", line);
  return std::move(*value);
}

Object parse_long_line(std::string_view line) {
  auto value = BigInt::from_decimal(line.ends_with('L') ? line.substr(0, line.size() - 1) : line);
  if (!value) refuse("int", line);
  return std::move(*value);
}

double parse_real_line(std::string_view line) {
  double value = 0;
  const char* const end = line.data() + line.size();
  const auto [stop, error] = std::from_chars(line.data(), end, value);
  if (error != std::errc() || stop != end) refuse("float", line);
  return value;
}

std::string parse_unicode_line(std::string_view line) {
  std::string text;
  text.reserve(line.size());
  while (!line.empty()) {
    const std::size_t digits = escape_digits(line);
    if (digits == 0) {
      append_character(text, static_cast<unsigned char>(line.front()));
      line.remove_prefix(1);
      continue;
    }
    const auto escape = line.substr(0, 2 + digits);
    std::uint32_t code = 0;
    const char* const end = escape.data() + escape.size();
    const auto [stop, error] = std::from_chars(escape.data() + 2, end, code, 16);
    if (escape.size() != 2 + digits || error != std::errc() || stop != end || code > 0x10FFFFU) {
      refuse("escaped character", escape);
    }
    append_character(text, code);
    line.remove_prefix(escape.size());
  }
  return text;
}

std::string parse_string_line(std::string_view line) {
  const char quote = line.empty() ? '\0' : line.front();
  if (line.size() < 2 || line.back() != quote || (quote != '\'' && quote != '"')) refuse("str of Python 2", line);
  std::string text;
  for (auto rest = line.substr(1, line.size() - 2); !rest.empty();) {
    if (rest.front() != '\\') {
      text.push_back(rest.front());
      rest.remove_prefix(1);
      continue;
    }
    rest.remove_prefix(1);
    if (rest.empty()) refuse("str of Python 2", line);
    rest.remove_prefix(append_escaped(text, rest));
  }
  return text;
}

std::size_t parse_index_line(std::string_view line) {
  std::size_t value = 0;
  const char* const end = line.data() + line.size();
  const auto [stop, error] = std::from_chars(line.data(), end, value);
  if (error != std::errc() || stop != end) refuse("place in the memo", line);
  return value;
}

}  // namespace runrig::pickle::detail
