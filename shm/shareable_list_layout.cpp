#include "shareable_list_layout.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <type_traits>

#include "runrig/sync/error.hpp"
#include "utf8.hpp"

namespace runrig::detail {
namespace {

static_assert(std::endian::native == std::endian::little,
              "CPython's list has native byte order; ours is little-endian");

constexpr std::size_t word = 8;
constexpr std::string_view attempt = "read list";
constexpr std::string_view int_format = "q";
constexpr std::string_view float_format = "d";
constexpr std::string_view bool_format = "xxxxxxx?";
constexpr std::string_view none_format = "xxxxxx?x";
constexpr std::size_t format_bytes = 8;
constexpr std::size_t longest_exact = 99'999;     // "99999s0x"
constexpr std::size_t longest_place = 9'999'999;  // "9999999s"

enum class Code : std::int8_t { number = 0, text = 1, bytes = 2, none = 3 };

struct Encoded {
  std::string_view bytes;  // what lies in the item's place; the rest of it is zero
  std::string format;
  Code code;
};

template <class T>
T load(std::span<const std::byte> segment, std::size_t at) noexcept {
  T value;
  std::memcpy(&value, segment.data() + at, sizeof value);
  return value;
}

template <class T>
void store(std::span<std::byte> segment, std::size_t at, T value) noexcept {
  std::memcpy(segment.data() + at, &value, sizeof value);
}

std::string_view text_of(const ListItem& item) noexcept {
  if (const auto* const text = std::get_if<std::string>(&item)) return *text;
  if (const auto* const bytes = std::get_if<ShareableList::Bytes>(&item)) {
    return {reinterpret_cast<const char*>(bytes->data()), bytes->size()};
  }
  return {};
}

bool is_textual(const ListItem& item) noexcept {
  return std::holds_alternative<std::string>(item) || std::holds_alternative<ShareableList::Bytes>(item);
}

// Checks an item by itself and says how many bytes it has.
std::size_t checked_bytes(const ListItem& item) {
  if (!is_textual(item)) return word;
  const std::string_view text = text_of(item);
  if (std::holds_alternative<std::string>(item) && !is_utf8(text)) {
    throw std::invalid_argument("a text for a ShareableList is not valid UTF-8; bytes may be anything");
  }
  const bool exact = !text.empty() && text.back() == '\0';
  const std::size_t longest = exact ? longest_exact : longest_place;
  if (text.size() > longest) {
    throw std::length_error("an item of " + std::to_string(text.size()) +
                            " bytes in a ShareableList: its layout takes " + std::to_string(longest) +
                            (exact ? " that end with a NUL" : ""));
  }
  return text.size();
}

// The bytes that CPython gives a new item, but for the bytes of a text, not its characters.
std::size_t new_place(const ListItem& item) {
  const std::size_t bytes = checked_bytes(item);
  if (!is_textual(item)) return word;
  const std::size_t place = word * (bytes / word + 1);
  if (place > longest_place) {
    throw std::length_error("an item of " + std::to_string(bytes) + " bytes in a ShareableList: its layout takes " +
                            std::to_string(longest_place / word * word - 1));
  }
  return place;
}

std::string text_format(std::string_view text, std::size_t place) {
  if (!text.empty() && text.back() == '\0') return std::to_string(text.size()) + "s0x";
  return std::to_string(std::min(place, longest_place)) + "s";
}

// The format field of an item that fits into `place` bytes.
std::string format_of(const ListItem& item, std::size_t place) {
  return std::visit(
      [&](const auto& value) -> std::string {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::monostate>) return std::string(none_format);
        if constexpr (std::is_same_v<T, bool>) return std::string(bool_format);
        if constexpr (std::is_same_v<T, std::int64_t>) return std::string(int_format);
        if constexpr (std::is_same_v<T, double>) return std::string(float_format);
        return text_format(text_of(item), place);
      },
      item);
}

Code code_of(const ListItem& item) noexcept {
  if (std::holds_alternative<std::monostate>(item)) return Code::none;
  if (std::holds_alternative<std::string>(item)) return Code::text;
  return is_textual(item) ? Code::bytes : Code::number;
}

void write_data(std::span<std::byte> place, const ListItem& item) noexcept {
  if (is_textual(item)) {
    const std::string_view text = text_of(item);
    if (!text.empty()) std::memcpy(place.data(), text.data(), text.size());
    std::fill(place.begin() + static_cast<std::ptrdiff_t>(text.size()), place.end(), std::byte{});
    return;
  }
  std::fill_n(place.begin(), word, std::byte{});
  if (const auto* const number = std::get_if<std::int64_t>(&item)) store(place, 0, *number);
  if (const auto* const real = std::get_if<double>(&item)) store(place, 0, *real);
  if (const auto* const truth = std::get_if<bool>(&item)) place[word - 1] = std::byte{*truth};
}

[[noreturn]] void refuse(std::string_view name, const std::string& why) { throw FormatError(attempt, name, why); }

struct TextFormat {
  std::size_t bytes;
  bool exact;  // NULs at the end belong to the item
};

// "<k>s" or "<k>s0x".
std::optional<TextFormat> parse_text_format(std::string_view format) noexcept {
  TextFormat parsed{0, format.ends_with("s0x")};
  if (!parsed.exact && !format.ends_with('s')) return std::nullopt;
  format.remove_suffix(parsed.exact ? 3 : 1);
  const auto [end, error] = std::from_chars(format.data(), format.data() + format.size(), parsed.bytes);
  if (error != std::errc() || end != format.data() + format.size()) return std::nullopt;
  return parsed;
}

std::string_view without_trailing_nuls(std::string_view text) noexcept {
  const auto last = text.find_last_not_of('\0');
  return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

ListItem read_text(std::span<const std::byte> place, const TextFormat& format, Code code, std::string_view name) {
  std::string text(reinterpret_cast<const char*>(place.data()), format.bytes);
  if (!format.exact) text.resize(without_trailing_nuls(text).size());
  if (code == Code::text) {
    if (!is_utf8(text)) {
      refuse(name, "a text in it is not UTF-8 (Python cuts texts that have more bytes than characters)");
    }
    return text;
  }
  if (code != Code::bytes) refuse(name, "an item's code and format contradict each other");
  const auto bytes = std::as_bytes(std::span(text));
  return ShareableList::Bytes(bytes.begin(), bytes.end());
}

ListItem read_number(std::span<const std::byte> place, std::string_view format) noexcept {
  if (format == int_format) return load<std::int64_t>(place, 0);
  if (format == float_format) return load<double>(place, 0);
  return place[word - 1] != std::byte{};
}

}  // namespace

std::size_t list_bytes(std::span<const ListItem> items) {
  std::size_t bytes = word * (items.size() + 2) + items.size() * (format_bytes + 1);
  for (const auto& each : items) bytes += new_place(each);  // each was in memory, so the sum cannot wrap
  return bytes;
}

void fill_list(std::span<std::byte> segment, std::span<const ListItem> items) {
  store(segment, 0, static_cast<std::int64_t>(items.size()));
  std::vector<std::uint64_t> offsets{0};
  for (const auto& each : items) offsets.push_back(offsets.back() + new_place(each));
  std::memcpy(segment.data() + word, offsets.data(), offsets.size() * word);
  for (std::size_t i = 0; i < items.size(); ++i) write_list_item(segment, list_slot(offsets, i), items[i]);
}

std::vector<std::uint64_t> read_list_offsets(std::span<const std::byte> segment, std::string_view name) {
  const std::size_t size = segment.size();
  if (size < 2 * word) refuse(name, "it has " + std::to_string(size) + " bytes, and the shortest list 16");
  const auto count = load<std::int64_t>(segment, 0);
  // By division, so that nothing wraps: an item takes at least 8 bytes each for offset, data and format, and a code.
  if (count < 0 || static_cast<std::uint64_t>(count) > (size - 2 * word) / (3 * word + 1)) {
    refuse(name, "it says it has " + std::to_string(count) + " items, in " + std::to_string(size) + " bytes");
  }
  const auto items = static_cast<std::size_t>(count);
  std::vector<std::uint64_t> offsets(items + 1);
  std::memcpy(offsets.data(), segment.data() + word, offsets.size() * word);
  const std::size_t data_bytes = size - word * (items + 2) - items * (format_bytes + 1);
  if (offsets.front() != 0) refuse(name, "its first offset is " + std::to_string(offsets.front()));
  for (std::size_t i = 0; i < items; ++i) {
    if (offsets[i + 1] <= offsets[i] || offsets[i + 1] % word != 0 || offsets[i + 1] > data_bytes) {
      refuse(name, "item " + std::to_string(i) + " reaches from offset " + std::to_string(offsets[i]) + " to " +
                       std::to_string(offsets[i + 1]) + ", of " + std::to_string(data_bytes) + " bytes at most");
    }
  }
  return offsets;
}

ListSlot list_slot(std::span<const std::uint64_t> offsets, std::size_t position) noexcept {
  const std::size_t items = offsets.size() - 1;
  const std::size_t data = word * (items + 2);
  const std::size_t formats = data + offsets.back();
  return {data + offsets[position], offsets[position + 1] - offsets[position], formats + position * format_bytes,
          formats + items * format_bytes + position};
}

std::string read_list_format(std::span<const std::byte> segment, const ListSlot& slot, std::string_view name) {
  // Copied first: what was checked is what is used, whatever others write meanwhile.
  const auto field = load<std::array<char, format_bytes>>(segment, slot.format);
  std::string format(without_trailing_nuls({field.data(), field.size()}));
  if (format == int_format || format == float_format || format == bool_format || format == none_format) return format;
  const auto parsed = parse_text_format(format);
  if (!parsed || parsed->bytes > slot.data_bytes) {
    for (char& each : format) each = each < ' ' || each > '~' ? '?' : each;
    refuse(name, "an item of " + std::to_string(slot.data_bytes) + " bytes has the format '" + format + "'");
  }
  return format;
}

ListItem read_list_item(std::span<const std::byte> segment, const ListSlot& slot, std::string_view name) {
  const std::string format = read_list_format(segment, slot, name);
  const auto code = load<Code>(segment, slot.code);
  const auto place = segment.subspan(slot.data, slot.data_bytes);
  if (const auto text = format.find('s') == std::string::npos ? std::nullopt : parse_text_format(format)) {
    return read_text(place, *text, code, name);
  }
  if (code != (format == none_format ? Code::none : Code::number)) {
    refuse(name, "an item's code and format contradict each other");
  }
  if (code == Code::none) return std::monostate();
  return read_number(place, format);
}

void write_list_item(std::span<std::byte> segment, const ListSlot& slot, const ListItem& item) {
  const std::size_t bytes = checked_bytes(item);
  if (bytes > slot.data_bytes) {
    throw std::length_error("bytes/str item exceeds available storage: " + std::to_string(bytes) +
                            " bytes in a place of " + std::to_string(slot.data_bytes));
  }
  const std::string format = format_of(item, slot.data_bytes);
  std::array<char, format_bytes> field{};
  std::copy_n(format.begin(), std::min(format.size(), field.size()), field.begin());
  write_data(segment.subspan(slot.data, slot.data_bytes), item);
  store(segment, slot.format, field);
  store(segment, slot.code, code_of(item));
}

}  // namespace runrig::detail
