#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "runrig/hdf5/file.hpp"
#include "runrig/hdf5/selection.hpp"

/// The chunk codecs, without the HDF5 library: deflate, shuffle, fletcher32 and
/// h5py's LZF, in the formats that it has for them.
/// Objects keep scratch memory and are used by one thread at a time.
namespace runrig::hdf5 {

[[nodiscard]] FilterInfo shuffle_filter();
[[nodiscard]] FilterInfo deflate_filter(unsigned level);  ///< 0 to 9; std::logic_error otherwise
[[nodiscard]] FilterInfo deflate_fast_filter();           ///< a deflate filter of level 1, encoded many times as fast
[[nodiscard]] FilterInfo fletcher32_filter();
[[nodiscard]] FilterInfo lzf_filter();

/// Whether ChunkDecoder and ChunkEncoder know all of a pipeline: the four above in any order, with one
/// of deflate and LZF at most.
[[nodiscard]] bool is_native_pipeline(std::span<const FilterInfo> filters) noexcept;

/// Parses "shuffle,deflate:4,fletcher32" or "shuffle,deflate:fast"; "" and "none" are no filters. Throws FormatError.
[[nodiscard]] std::vector<FilterInfo> parse_filters(std::string_view text);

/// Decodes chunks of one dataset.
class ChunkDecoder {
 public:
  /// Throws std::logic_error unless is_native_pipeline(filters).
  ChunkDecoder(std::vector<FilterInfo> filters, std::size_t item_bytes);
  ChunkDecoder(ChunkDecoder&&) noexcept;
  ChunkDecoder& operator=(ChunkDecoder&&) noexcept;
  ~ChunkDecoder();

  /// Undoes the filters whose bit (1 << position) is not set in `filter_mask`; `out` is exactly the chunk. `stored` may
  /// be changed. Throws FormatError("read chunk", `name`, why) if it is not exactly what a chunk of that size encodes
  /// to.
  void decode(std::span<std::byte> stored, std::uint32_t filter_mask, std::span<std::byte> out, std::string_view name);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Encodes chunks of one dataset.
class ChunkEncoder {
 public:
  /// `item_bytes` is the stored element's size. Unless `swapped_bytes` is 0, the bytes of each number of so many are
  /// reversed first: of an element, or of its parts where it is complex. Throws std::logic_error unless
  /// is_native_pipeline(filters).
  ChunkEncoder(std::vector<FilterInfo> filters, std::size_t item_bytes, std::size_t swapped_bytes = 0);
  ChunkEncoder(ChunkEncoder&&) noexcept;
  ChunkEncoder& operator=(ChunkEncoder&&) noexcept;
  ~ChunkEncoder();

  struct Encoded {
    std::span<const std::byte> bytes;  ///< valid until the next encode() and while `chunk`, `room` and the encoder live
    std::uint32_t filter_mask = 0;     ///< bit i set: filter i was left out (a compressor that does not shrink)
  };
  /// Encodes one full chunk of elements in the machine's order. What the last filter makes goes to the beginning of
  /// `room` if that has bound(chunk.size()) bytes; where that filter is left out, or there is none, the result lies
  /// elsewhere nevertheless.
  [[nodiscard]] Encoded encode(std::span<const std::byte> chunk, std::span<std::byte> room = {});
  /// The most bytes that a chunk of `chunk_bytes` can encode to.
  [[nodiscard]] std::size_t bound(std::size_t chunk_bytes) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Copies into `out`, as one full chunk, what lies in the chunk at index `chunk_start` (its first element's
/// coordinates) out of `values`, a C-contiguous array that holds `box` of the dataset; elements of the chunk outside
/// the box become `fill`. item_bytes is fill.size().
void extract_chunk(std::span<const std::byte> values, const Box& box, const Shape& chunk_start, const Shape& chunk,
                   std::span<const std::byte> fill, std::span<std::byte> out);

}  // namespace runrig::hdf5
