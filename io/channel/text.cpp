#include "text.hpp"

#include <array>
#include <cstring>

#include "runrig/channel/object.hpp"

namespace runrig::pickle {
namespace detail {
namespace {
constexpr std::uint32_t tail_of(char byte) noexcept { return static_cast<unsigned char>(byte) & 0x3FU; }
constexpr bool is_surrogate(std::uint32_t code) noexcept { return code >= 0xD800U && code <= 0xDFFFU; }
constexpr bool is_tail(char byte) noexcept { return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U; }
}  // namespace

Character first_character(std::string_view text) noexcept {
  if (text.empty()) return {};
  const std::uint32_t lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80U) return {lead, 1};
  const std::size_t bytes = lead >= 0xF0U ? 4 : lead >= 0xE0U ? 3 : 2;
  if (lead < 0xC2U || lead > 0xF4U || text.size() < bytes) return {};
  std::uint32_t code = lead & (0x7FU >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if (!is_tail(text[i])) return {};
    code = (code << 6) | tail_of(text[i]);
  }
  // Each length has a least code point: a longer way to write a character is none.
  constexpr std::array<std::uint32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
  if (code < least[bytes] || code > 0x10FFFFU) return {};
  return {code, bytes};
}

void append_character(std::string& out, std::uint32_t code) {
  const auto put = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80U) {
    put(code);
  } else if (code < 0x800U) {
    put(0xC0U | (code >> 6));
    put(0x80U | (code & 0x3FU));
  } else if (code < 0x10000U) {
    put(0xE0U | (code >> 12));
    put(0x80U | ((code >> 6) & 0x3FU));
    put(0x80U | (code & 0x3FU));
  } else {
    put(0xF0U | (code >> 18));
    put(0x80U | ((code >> 12) & 0x3FU));
    put(0x80U | ((code >> 6) & 0x3FU));
    put(0x80U | (code & 0x3FU));
  }
}

bool is_plain_text(std::string_view text) noexcept {
  // Nearly all text is ASCII: looked at by words.
  while (!text.empty()) {
    std::uint64_t word = 0;
    while (text.size() >= sizeof word) {
      std::memcpy(&word, text.data(), sizeof word);
      if ((word & 0x8080808080808080U) != 0) break;
      text.remove_prefix(sizeof word);
    }
    if (text.empty()) break;
    const Character character = first_character(text);
    if (character.bytes == 0 || is_surrogate(character.code)) return false;
    text.remove_prefix(character.bytes);
  }
  return true;
}

std::string printable(std::string_view text) {
  constexpr std::size_t longest = 80;
  constexpr std::string_view digits = "0123456789abcdef";
  std::string result;
  for (const char each : text.substr(0, longest)) {
    const auto byte = static_cast<unsigned char>(each);
    if (byte >= 0x20 && byte < 0x7F) {
      result.push_back(each);
    } else {
      result.append({'\\', 'x', digits[byte >> 4], digits[byte & 0xFU]});
    }
  }
  if (text.size() > longest) result += "...";
  return result;
}

}  // namespace detail

bool is_text(std::string_view text) noexcept {
  while (!text.empty()) {
    const auto bytes = detail::first_character(text).bytes;
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

namespace {
constexpr std::uint32_t escape_base = 0xDC00U;  // byte b becomes U+DC00 + b; only b >= 0x80 needs it
}  // namespace

std::string escape_text(std::string_view bytes) {
  std::string result;
  result.reserve(bytes.size());
  while (!bytes.empty()) {
    const auto character = detail::first_character(bytes);
    if (character.bytes == 0 ||
        detail::is_surrogate(character.code)) {  // as Python: bytes of a surrogate are escaped, too
      detail::append_character(result, escape_base + static_cast<unsigned char>(bytes.front()));
      bytes.remove_prefix(1);
    } else {
      result.append(bytes.substr(0, character.bytes));
      bytes.remove_prefix(character.bytes);
    }
  }
  return result;
}

std::string unescape_text(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const auto character = detail::first_character(text);
    const std::size_t bytes = character.bytes == 0 ? 1 : character.bytes;
    if (character.code >= escape_base + 0x80U && character.code <= escape_base + 0xFFU) {
      result.push_back(static_cast<char>(character.code - escape_base));
    } else {
      result.append(text.substr(0, bytes));
    }
    text.remove_prefix(bytes);
  }
  return result;
}

}  // namespace runrig::pickle
