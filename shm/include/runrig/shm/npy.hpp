#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "runrig/shm/dtype.hpp"
#include "runrig/shm/shape.hpp"

namespace runrig {

/// The length of the headers that we write: a page, so that the data behind it is page-aligned wherever the file is
/// mapped. A shape of 32 huge extents fits many times over.
inline constexpr std::size_t npy_header_bytes = 4096;
/// The longest header that is read. NumPy's own stay far below (it refuses more than 10,000 characters).
inline constexpr std::size_t npy_longest_header = 65536;

/// Which axis varies fastest in memory: the last (C, NumPy's default) or the first (Fortran).
enum class MemoryOrder : std::uint8_t { row_major, column_major };

/// What the header of a .npy file says, checked: the data lies wholly inside the file and is aligned.
struct NpyHeader {
  DType dtype{};
  Shape shape;
  MemoryOrder order = MemoryOrder::row_major;
  std::size_t data_offset = 0;  ///< bytes from the start of the file; a multiple of the item's size
  std::size_t data_bytes = 0;   ///< at most the file's size less data_offset
};

/// The header of format version 1.0 for a row-major array: npy_header_bytes long. Throws Error value_too_large if the
/// data would exceed PTRDIFF_MAX bytes.
[[nodiscard]] std::string make_npy_header(DType dtype, const Shape& shape);

/// Reads a header of format version 1.0, 2.0 or 3.0 from `prefix`, the first bytes of a file of `file_bytes` bytes in
/// all; npy_longest_header of them are always enough. Nothing that the bytes say is believed unchecked. Throws
/// FormatError saying what is wrong and where: no .npy file, cut short, not one of our dtypes or in the other byte
/// order, more than 32 axes, or more data than the file has.
///
/// The dictionary must be as NumPy writes it: the keys 'descr', 'fortran_order' and 'shape' once each, in any order,
/// with literals of Python; old Python's 3L is taken for 3. Stricter than NumPy in one thing: data that is
/// not aligned to its item size is refused (no version of NumPy writes such a file).
[[nodiscard]] NpyHeader parse_npy_header(std::span<const std::byte> prefix, std::size_t file_bytes,
                                         std::string_view name);

/// The same, read from an open file by pread, so that a peer that rewrites the header while it is being checked
/// changes nothing: what was checked is what is used. Also throws Error for a failed read.
[[nodiscard]] NpyHeader read_npy_header(int fd, std::size_t file_bytes, std::string_view name);

}  // namespace runrig
