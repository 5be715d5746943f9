#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "runrig/engine/expression.hpp"

namespace runrig::detail {

enum class TokenKind { number, name, symbol, end };

/// A piece of an expression's text. `column` counts bytes from 1.
struct Token {
  TokenKind kind = TokenKind::end;
  std::string_view text;
  std::size_t column = 1;
};

/// Cuts an expression into tokens, one at a time. Throws ExpressionError at what begins none.
class Tokens {
 public:
  /// Throws ExpressionError for a text that is too long or not UTF-8.
  explicit Tokens(std::string_view text);
  [[nodiscard]] const Token& peek() const noexcept { return next_; }
  /// Returns peek() and goes on to the one behind it.
  Token take();
  [[nodiscard]] std::string_view text() const noexcept { return text_; }

 private:
  void scan();
  void scan_number();
  void scan_name();
  void scan_symbol();
  std::string_view text_;
  std::size_t position_ = 0;  // of the first byte behind next_
  Token next_;
};

/// "'x'", with control bytes escaped and a long text cut.
[[nodiscard]] std::string quoted(std::string_view text);
/// "'x'" or "the end", for messages that say what was found.
[[nodiscard]] std::string describe(const Token& token);
/// The name among `known` that `name` was probably meant to be; empty if none is near.
[[nodiscard]] std::string_view nearest(std::string_view name, std::span<const std::string_view> known);

}  // namespace runrig::detail
