#include "expression_text.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

namespace runrig {
namespace {

constexpr std::size_t excerpt_bytes = 72;

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
/// Bytes of names: HDF5 users name things in their own language, so all beyond ASCII belongs to a name.
bool begins_name(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (static_cast<unsigned char>(c) & 0x80U) != 0;
}
bool continues_name(char c) noexcept { return begins_name(c) || is_digit(c); }
bool continues_character(char c) noexcept { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

std::string escaped(std::string_view text) {
  constexpr std::string_view hex = "0123456789abcdef";
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20U && byte != 0x7FU) {
      result += c;
    } else {
      result += "\\x";
      result += hex[byte >> 4U];
      result += hex[byte & 15U];
    }
  }
  return result;
}

/// The part of a long text that shows `column`, cut at characters.
std::string excerpt(std::string_view text, std::size_t column) {
  if (text.size() <= excerpt_bytes) return escaped(text);
  std::size_t begin = column > excerpt_bytes / 2 ? column - excerpt_bytes / 2 : 0;
  begin = std::min(begin, text.size() - excerpt_bytes);
  std::size_t end = begin + excerpt_bytes;
  while (begin > 0 && continues_character(text[begin])) --begin;
  while (end < text.size() && continues_character(text[end])) ++end;
  return (begin > 0 ? "..." : "") + escaped(text.substr(begin, end - begin)) + (end < text.size() ? "..." : "");
}

/// The bytes of the UTF-8 character at the head of `text`; 0 if there is none. Overlong forms and surrogates are
/// let through: names are compared, never decoded.
std::size_t character_bytes(std::string_view text) noexcept {
  const auto head = static_cast<unsigned char>(text[0]);
  const std::size_t bytes = head < 0x80U   ? 1
                            : head < 0xC2U ? 0
                            : head < 0xE0U ? 2
                            : head < 0xF0U ? 3
                            : head < 0xF5U ? 4
                                           : 0;
  if (bytes == 0 || bytes > text.size()) return 0;
  const auto rest = text.substr(1, bytes - 1);
  return std::all_of(rest.begin(), rest.end(), continues_character) ? bytes : 0;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0U : 1U);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row[b.size()];
}

std::string error_line(std::string_view text, std::size_t column, std::string_view why) {
  return "expression '" + excerpt(text, column) + "': column " + std::to_string(column) + ": " + std::string(why);
}

}  // namespace

ExpressionError::ExpressionError(std::string_view text, std::size_t column, std::string_view why)
    : Error(make_error_code(ErrorKind::format), error_line(text, column, why)),
      column_(column),
      line_(error_line(text, column, why)),
      why_(std::string(why)) {}

namespace detail {

std::string quoted(std::string_view text) {
  std::size_t end = std::min(text.size(), excerpt_bytes);
  while (end > 0 && end < text.size() && continues_character(text[end])) --end;
  std::string result = "'";
  return result.append(escaped(text.substr(0, end))).append(end < text.size() ? "...'" : "'");
}

std::string describe(const Token& token) { return token.kind == TokenKind::end ? "the end" : quoted(token.text); }

std::string_view nearest(std::string_view name, std::span<const std::string_view> known) {
  if (name.size() > excerpt_bytes) return {};
  std::size_t best = std::max<std::size_t>(1, name.size() / 3) + 1;
  std::string_view found;
  for (const std::string_view candidate : known) {
    if (candidate.size() > excerpt_bytes) continue;
    const std::size_t distance = edit_distance(name, candidate);
    if (distance >= best || distance >= candidate.size()) continue;
    best = distance;
    found = candidate;
  }
  return found;
}

Tokens::Tokens(std::string_view text) : text_(text) {
  if (text.size() > Expression::max_text_bytes) {
    throw ExpressionError(text, Expression::max_text_bytes + 1,
                          "too long: at most " + std::to_string(Expression::max_text_bytes) + " bytes are read");
  }
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t bytes = character_bytes(text.substr(i));
    if (bytes == 0) {
      // Not shown as text: the line that reports it should be valid UTF-8 itself.
      throw ExpressionError(text.substr(0, i), i + 1, "a byte that is not UTF-8");
    }
    i += bytes;
  }
  scan();
}

Token Tokens::take() {
  const Token token = next_;
  scan();
  return token;
}

void Tokens::scan() {
  while (position_ < text_.size() && std::string_view(" \t\r\n").find(text_[position_]) != std::string_view::npos) {
    ++position_;
  }
  next_ = {TokenKind::end, text_.substr(position_, 0), position_ + 1};
  if (position_ == text_.size()) return;
  const char c = text_[position_];
  const bool point_then_digit = c == '.' && position_ + 1 < text_.size() && is_digit(text_[position_ + 1]);
  if (is_digit(c) || point_then_digit) {
    scan_number();
  } else if (begins_name(c)) {
    scan_name();
  } else {
    scan_symbol();
  }
  position_ += next_.text.size();
}

/// Takes all that could belong to a number, right or wrong, so that "1.2.3" and "12abc" are one wrong number and not
/// two tokens.
void Tokens::scan_number() {
  std::size_t end = position_;
  while (end < text_.size()) {
    const char c = text_[end];
    const bool sign_of_exponent = (c == '+' || c == '-') && (text_[end - 1] == 'e' || text_[end - 1] == 'E') &&
                                  !(text_[position_] == '0' && position_ + 1 < end &&
                                    (text_[position_ + 1] == 'x' || text_[position_ + 1] == 'X'));
    if (!continues_name(c) && c != '.' && !(end > position_ && sign_of_exponent)) break;
    ++end;
  }
  next_.kind = TokenKind::number;
  next_.text = text_.substr(position_, end - position_);
}

void Tokens::scan_name() {
  std::size_t end = position_;
  // "np.sqrt" is one name.
  for (const std::string_view module : {"np.", "numpy."}) {
    if (text_.substr(position_).starts_with(module)) end = position_ + module.size();
  }
  while (end < text_.size() && continues_name(text_[end])) ++end;
  next_.kind = TokenKind::name;
  next_.text = text_.substr(position_, end - position_);
}

void Tokens::scan_symbol() {
  // Longer ones first. Some are no operators of ours, but are taken whole so that the message can name them.
  static constexpr std::array<std::string_view, 29> symbols{
      "**=", "//=", "**", "//", "<<", ">>", "<=", ">=", "==", "!=", "<>", "&&", "||", "+", "-",
      "*",   "/",   "%",  "<",  ">",  "=",  "&",  "|",  "^",  "~",  "!",  "(",  ")",  ","};
  next_.kind = TokenKind::symbol;
  for (const std::string_view symbol : symbols) {
    if (!text_.substr(position_).starts_with(symbol)) continue;
    next_.text = symbol;  // of static storage, unlike the others, which does no harm
    return;
  }
  next_.text = text_.substr(position_, 1);
}

}  // namespace detail
}  // namespace runrig
