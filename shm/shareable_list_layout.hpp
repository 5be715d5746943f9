#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runrig/shm/shareable_list.hpp"

/// The bytes of a ShareableList, as CPython lays them out (little-endian, no padding anywhere):
///
///     int64 N | N + 1 int64 offsets | data | N times 8 bytes format, NUL-padded | N int8 codes
///
/// The offsets count from the start of the data, which is at 8 * (N + 2); item i has the bytes from offset i to offset
/// i + 1. Formats are those of Python's struct: `q` int, `d` float, `xxxxxxx?` bool, `xxxxxx?x` None, `<k>s` str and
/// bytes. Codes: 0 numbers, 1 str, 2 bytes, 3 None. CPython strips NULs from the end of what `<k>s` holds. An item that
/// ends with NULs of its own has the format `<k>s0x`, with k its exact length: CPython's struct reads the same bytes,
/// and on assignment CPython goes by the last letter and writes a format of its own.
///
/// Functions on plain bytes, which may be anything: bounds are those of the span, never of what it says.
namespace runrig::detail {

using ListItem = ShareableList::Item;

/// Throw std::length_error, std::invalid_argument as ShareableList::create().
[[nodiscard]] std::size_t list_bytes(std::span<const ListItem> items);
void fill_list(std::span<std::byte> segment, std::span<const ListItem> items);

/// The N + 1 offsets, when the whole table, all data, formats and codes lie in the segment. Throws FormatError.
[[nodiscard]] std::vector<std::uint64_t> read_list_offsets(std::span<const std::byte> segment, std::string_view name);

/// An item in a segment whose offsets were checked against this very size.
struct ListSlot {
  std::size_t data;  ///< in bytes from the segment's start
  std::size_t data_bytes;
  std::size_t format;
  std::size_t code;
};
[[nodiscard]] ListSlot list_slot(std::span<const std::uint64_t> offsets, std::size_t position) noexcept;

/// The format, up to 8 characters. Throws FormatError if it is none that an item of this place can have.
[[nodiscard]] std::string read_list_format(std::span<const std::byte> segment, const ListSlot& slot,
                                           std::string_view name);
[[nodiscard]] ListItem read_list_item(std::span<const std::byte> segment, const ListSlot& slot, std::string_view name);
/// Throws std::length_error, std::invalid_argument as ShareableList::set().
void write_list_item(std::span<std::byte> segment, const ListSlot& slot, const ListItem& item);

}  // namespace runrig::detail
