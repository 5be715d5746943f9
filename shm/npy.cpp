#include "runrig/shm/npy.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <utility>
#include <vector>

#include "runrig/sync/error.hpp"

namespace runrig {
namespace {

constexpr std::string_view attempt = "read the .npy header of";
constexpr std::string_view magic{"\x93NUMPY", 6};
constexpr std::size_t longest_prelude = 12;  // magic, two bytes of version, four of length (two in version 1)

// The dictionary's text, read once from front to back. Positions in messages count from the start of the file.
class Dictionary {
 public:
  Dictionary(std::string_view text, std::size_t start, std::string_view name)
      : text_(text), start_(start), name_(name) {}

  void parse(NpyHeader& header) {
    expect('{');
    while (!accept('}')) {
      const std::string_view key = string();
      expect(':');
      entry(key, header);
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (at_ != text_.size()) fail("something follows the dictionary");
    if (text_.empty() || text_.back() != '\n') fail("no newline ends the header");
    if (!seen_descr_ || !seen_order_ || !seen_shape_) fail("'descr', 'fortran_order' or 'shape' is missing");
  }

  [[noreturn]] void fail(std::string_view why) const {
    throw FormatError(attempt, name_, std::string(why) + " (byte " + std::to_string(start_ + at_) + ")");
  }

 private:
  void entry(std::string_view key, NpyHeader& header) {
    if (key == "descr" && !std::exchange(seen_descr_, true)) {
      header.dtype = descr();
    } else if (key == "fortran_order" && !std::exchange(seen_order_, true)) {
      header.order = boolean() ? MemoryOrder::column_major : MemoryOrder::row_major;
    } else if (key == "shape" && !std::exchange(seen_shape_, true)) {
      header.shape = shape();
    } else {
      fail("the key '" + printable(key) + "' is unknown or there twice");
    }
  }

  DType descr() {
    skip_space();
    if (at_ < text_.size() && text_[at_] == '[') fail("a structured dtype is not one of our element types");
    const std::string_view text = string();
    if (const auto dtype = parse_dtype(text)) return *dtype;
    std::string other(text);
    if (!other.empty() && (other[0] == '<' || other[0] == '>')) {
      other[0] = '=';
      if (parse_dtype(other)) fail("dtype '" + printable(text) + "' is in the other byte order");
    }
    fail("dtype '" + printable(text) + "' is not one of our element types");
  }

  bool boolean() {
    skip_space();
    for (const bool value : {true, false}) {
      const std::string_view word = value ? "True" : "False";
      if (text_.substr(at_).starts_with(word)) {
        at_ += word.size();
        return value;
      }
    }
    fail("'fortran_order' is neither True nor False");
  }

  Shape shape() {
    Shape result;
    expect('(');
    bool comma = true;
    while (!accept(')')) {
      if (!comma) fail("the shape lacks a comma");
      if (result.rank() == max_rank) fail("the shape has more than 32 axes");
      result.push_back(integer());
      comma = accept(',');
    }
    if (result.rank() == 1 && !comma) fail("the shape is a number in parentheses, not a tuple");
    return result;
  }

  std::uint64_t integer() {
    skip_space();
    if (at_ < text_.size() && text_[at_] == '-') fail("an extent is negative");
    const char* const first = text_.data() + at_;
    const char* const last = text_.data() + text_.size();
    std::uint64_t value = 0;
    const auto [end, code] = std::from_chars(first, last, value);
    if (code == std::errc::result_out_of_range) fail("an extent does not fit 64 bits");
    if (code != std::errc{} || (*first == '0' && end - first > 1)) fail("an extent is not a number");
    at_ += static_cast<std::size_t>(end - first);
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // Python 2
    return value;
  }

  std::string_view string() {
    skip_space();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    if (quote != '\'' && quote != '"') fail("a string should be here");
    const std::size_t first = ++at_;
    for (; at_ < text_.size() && text_[at_] != quote; ++at_) {
      const char each = text_[at_];
      if (each == '\\' || each < ' ' || each > '~') fail("a string holds an escape or a character that is not ASCII");
    }
    if (at_ == text_.size()) fail("a string does not end");
    return text_.substr(first, at_++ - first);
  }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n')) ++at_;
  }
  bool accept(char wanted) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }
  void expect(char wanted) {
    if (!accept(wanted)) fail(std::string("'") + wanted + "' should be here");
  }
  // Strings are ASCII without control characters already; only their length is not ours.
  static std::string printable(std::string_view text) {
    return text.size() <= 40 ? std::string(text) : std::string(text.substr(0, 40)) + "...";
  }

  std::string_view text_;
  std::size_t start_;
  std::string_view name_;
  std::size_t at_ = 0;
  bool seen_descr_ = false;
  bool seen_order_ = false;
  bool seen_shape_ = false;
};

std::size_t byte_at(std::span<const std::byte> bytes, std::size_t index) {
  return std::to_integer<std::size_t>(bytes[index]);
}

struct Extent {
  std::size_t text_offset;
  std::size_t data_offset;
};

// Where the dictionary begins and ends, from the first bytes. The result is below npy_longest_header and inside
// the file.
Extent header_extent(std::span<const std::byte> prefix, std::size_t file_bytes, std::string_view name) {
  const auto fail = [&](const std::string& why) -> void { throw FormatError(attempt, name, why); };
  if (prefix.size() < magic.size() || std::memcmp(prefix.data(), magic.data(), magic.size()) != 0) {
    fail("it does not begin with \\x93NUMPY");
  }
  if (prefix.size() < 8) fail("it ends inside the header");
  const std::size_t major = byte_at(prefix, 6);
  const std::size_t minor = byte_at(prefix, 7);
  if (major < 1 || major > 3 || minor != 0) {
    fail("format version " + std::to_string(major) + "." + std::to_string(minor) +
         " is unknown (known: 1.0, 2.0, 3.0)");
  }
  const std::size_t length_bytes = major == 1 ? 2 : 4;
  const std::size_t text_offset = 8 + length_bytes;
  if (prefix.size() < text_offset) fail("it ends inside the header");
  std::size_t length = 0;
  for (std::size_t i = 0; i < length_bytes; ++i) length |= byte_at(prefix, 8 + i) << (8 * i);
  // text_offset + length cannot wrap: the length has 32 bits.
  if (text_offset + length > std::min(npy_longest_header + longest_prelude, file_bytes)) {
    fail("its header claims " + std::to_string(length) + " bytes, the file has " + std::to_string(file_bytes) +
         " and " + std::to_string(npy_longest_header) + " are the most");
  }
  return {text_offset, text_offset + length};
}

}  // namespace

std::string make_npy_header(DType dtype, const Shape& shape) {
  if (!shape.checked_bytes(item_bytes(dtype))) {
    throw Error(std::errc::value_too_large, "make an array of shape", to_string(shape));
  }
  std::string header(magic);
  header += '\1';
  header += '\0';
  constexpr std::size_t text_bytes = npy_header_bytes - 10;
  header += static_cast<char>(text_bytes & 0xFFU);
  header += static_cast<char>(text_bytes >> 8);
  header += "{'descr': '" + std::string(dtype_string(dtype)) +
            "', 'fortran_order': False, 'shape': " + to_string(shape) + ", }";
  header.resize(npy_header_bytes - 1, ' ');
  header += '\n';
  return header;
}

NpyHeader parse_npy_header(std::span<const std::byte> prefix, std::size_t file_bytes, std::string_view name) {
  const Extent extent = header_extent(prefix, file_bytes, name);
  if (extent.data_offset > prefix.size()) throw FormatError(attempt, name, "it ends inside the header");
  const std::string_view text(reinterpret_cast<const char*>(prefix.data()) + extent.text_offset,
                              extent.data_offset - extent.text_offset);
  NpyHeader header;
  Dictionary dictionary(text, extent.text_offset, name);
  dictionary.parse(header);
  header.data_offset = extent.data_offset;
  const auto data_bytes = header.shape.checked_bytes(item_bytes(header.dtype));
  // Compared by subtraction: the sum could wrap.
  if (!data_bytes || *data_bytes > file_bytes - header.data_offset) {
    throw FormatError(attempt, name,
                      "shape " + to_string(header.shape) + " of " + std::string(dtype_name(header.dtype)) +
                          " needs more than the " + std::to_string(file_bytes - header.data_offset) +
                          " bytes behind the header");
  }
  header.data_bytes = *data_bytes;
  if (header.data_offset % item_bytes(header.dtype) != 0) {
    throw FormatError(attempt, name,
                      "its data begins at byte " + std::to_string(header.data_offset) + ", not aligned for " +
                          std::string(dtype_name(header.dtype)));
  }
  return header;
}

NpyHeader read_npy_header(int fd, std::size_t file_bytes, std::string_view name) {
  std::vector<std::byte> buffer(std::min(npy_longest_header + longest_prelude, file_bytes));
  std::size_t got = 0;
  while (got < buffer.size()) {
    // Most headers are within the first page; the rest is read only if the header says that it is longer.
    const std::size_t wanted = got == 0 ? std::min(npy_header_bytes, buffer.size()) : buffer.size() - got;
    const auto count =
        check_errno(retry_on_eintr([&] { return ::pread(fd, buffer.data() + got, wanted, static_cast<off_t>(got)); }),
                    attempt, name);
    if (count == 0) break;  // shrunk since its size was taken: parsed as what it is now
    got += static_cast<std::size_t>(count);
    if (got >= longest_prelude && header_extent(std::span(buffer).first(got), file_bytes, name).data_offset <= got) {
      break;
    }
  }
  return parse_npy_header(std::span(buffer).first(got), file_bytes, name);
}

}  // namespace runrig
