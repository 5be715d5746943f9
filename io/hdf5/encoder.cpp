#include <algorithm>
#include <cstring>
#include <optional>
#include <stdexcept>

#include "block_codec.hpp"
#include "byte_order.hpp"
#include "deflater.hpp"
#include "filters.hpp"
#include "fletcher32.hpp"
#include "lzf.hpp"
#include "runrig/hdf5/codec.hpp"
#include "runrig/hdf5/strided_copy.hpp"
#include "shuffle.hpp"

namespace runrig::hdf5 {
namespace {

std::optional<detail::Deflater> make_deflater(std::span<const FilterInfo> filters) {
  const auto deflate = std::ranges::find(filters, H5Z_FILTER_DEFLATE, &FilterInfo::id);
  if (deflate == filters.end()) return std::nullopt;
  if (deflate->fast) return detail::Deflater(detail::Deflater::Fast{});
  return detail::Deflater(deflate->parameters.empty() ? 6 : deflate->parameters[0]);
}

}  // namespace

struct ChunkEncoder::State {
  std::vector<FilterInfo> filters;
  std::size_t item_bytes;
  std::size_t swapped_bytes;
  std::optional<detail::Deflater> deflater;
  std::vector<std::byte> scratch[2];
  std::span<std::byte> room;  // the caller's, for what the last filter makes

  /// Where filter `i` writes.
  std::span<std::byte> output(std::size_t i, std::span<const std::byte> in, std::size_t bytes) {
    if (i + 1 == filters.size() && room.size() >= bytes) return room.first(bytes);
    return other_scratch(in, bytes);
  }
  std::span<std::byte> other_scratch(std::span<const std::byte> in, std::size_t bytes) {
    std::vector<std::byte>& buffer = scratch[0].data() == in.data() ? scratch[1] : scratch[0];
    if (buffer.size() < bytes) buffer.resize(bytes);
    return std::span(buffer).first(bytes);
  }

  /// Empty if it does not shrink.
  std::span<const std::byte> compress(std::size_t i, std::span<const std::byte> in) {
    if (in.size() < 2) return {};
    const std::span<std::byte> out = output(i, in, in.size() - 1);
    return out.first(compress_into(filters[i], in, out));
  }

  std::size_t compress_into(const FilterInfo& filter, std::span<const std::byte> in, std::span<std::byte> out) {
    if (filter.id == detail::lzf_id) return detail::lzf_encode(in, out);
    if (detail::is_block_codec(filter.id)) return detail::block_encode(filter, item_bytes, in, out);
    return deflater->compress(in, out);
  }

  std::span<const std::byte> with_checksum(std::size_t i, std::span<const std::byte> in) {
    const std::span<std::byte> out = output(i, in, in.size() + 4);
    std::ranges::copy(in, out.begin());
    const std::uint32_t sum = detail::fletcher32(in);
    for (std::size_t k = 0; k < 4; ++k) out[in.size() + k] = static_cast<std::byte>(sum >> (8 * k));
    return out;
  }
};

ChunkEncoder::ChunkEncoder(std::vector<FilterInfo> filters, std::size_t item_bytes, std::size_t swapped_bytes) {
  if (!is_native_pipeline(filters)) throw std::logic_error("ChunkEncoder does not know all of these filters");
  if (item_bytes == 0) throw std::logic_error("ChunkEncoder: items have bytes");
  auto deflater = make_deflater(filters);
  state_ = std::make_unique<State>(State{std::move(filters), item_bytes, swapped_bytes, std::move(deflater), {}, {}});
}
ChunkEncoder::ChunkEncoder(ChunkEncoder&&) noexcept = default;
ChunkEncoder& ChunkEncoder::operator=(ChunkEncoder&&) noexcept = default;
ChunkEncoder::~ChunkEncoder() = default;

std::size_t ChunkEncoder::bound(std::size_t chunk_bytes) const { return chunk_bytes + 4 * state_->filters.size(); }

ChunkEncoder::Encoded ChunkEncoder::encode(std::span<const std::byte> chunk, std::span<std::byte> room) {
  State& state = *state_;
  state.room = room;
  Encoded result{chunk, 0};
  if (state.swapped_bytes > 1) {
    const std::span<std::byte> swapped = state.other_scratch(chunk, chunk.size());
    detail::swap_bytes(chunk, swapped, state.swapped_bytes);
    result.bytes = swapped;
  }
  for (std::size_t i = 0; i < state.filters.size(); ++i) {
    const FilterInfo& filter = state.filters[i];
    if (filter.id == H5Z_FILTER_FLETCHER32) {
      result.bytes = state.with_checksum(i, result.bytes);
    } else if (filter.id == H5Z_FILTER_SHUFFLE) {
      // The library skips the shuffle of single bytes, but sets no mask for it: it changes nothing.
      if (state.item_bytes == 1) continue;
      const std::span<std::byte> shuffled = state.output(i, result.bytes, result.bytes.size());
      detail::shuffle(result.bytes, shuffled, state.item_bytes);
      result.bytes = shuffled;
    } else if (detail::is_block_codec(filter.id) && !detail::is_block_compressor(filter)) {
      const std::span<std::byte> shuffled = state.output(i, result.bytes, result.bytes.size());
      // Of the same size, so it fits, if the filter's parameters can be.
      if (detail::block_encode(filter, state.item_bytes, result.bytes, shuffled) == shuffled.size()) {
        result.bytes = shuffled;
      } else {
        result.filter_mask |= 1U << i;
      }
    } else if (const auto compressed = state.compress(i, result.bytes); !compressed.empty()) {
      result.bytes = compressed;
    } else {
      result.filter_mask |= 1U << i;
    }
  }
  return result;
}

void extract_chunk(std::span<const std::byte> values, const Box& box, const Shape& chunk_start, const Shape& chunk,
                   std::span<const std::byte> fill, std::span<std::byte> out) {
  const std::size_t rank = box.count.rank();
  const std::size_t item = fill.size();
  if (box.start.rank() != rank || chunk_start.rank() != rank || chunk.rank() != rank ||
      box.count.checked_bytes(item) != values.size() || chunk.checked_bytes(item) != out.size()) {
    throw std::logic_error("extract_chunk: ranks or sizes differ");
  }
  detail::StridedCopy copy;
  copy.item_bytes = item;
  auto from_stride = static_cast<std::ptrdiff_t>(item);
  std::ptrdiff_t to_stride = from_stride;
  const std::byte* from = values.data();
  std::byte* to = out.data();
  bool whole = true;
  copy.count = Shape(std::span(chunk.begin(), rank));
  copy.from_strides.resize(rank);
  copy.to_strides.resize(rank);
  for (std::size_t axis = rank; axis-- > 0;) {
    const std::uint64_t first = std::max(box.start[axis], chunk_start[axis]);
    const std::uint64_t end = std::min(box.start[axis] + box.count[axis], chunk_start[axis] + chunk[axis]);
    copy.count[axis] = end > first ? end - first : 0;
    whole = whole && copy.count[axis] == chunk[axis];
    copy.from_strides[axis] = from_stride;
    copy.to_strides[axis] = to_stride;
    if (copy.count[axis] > 0) {
      from += static_cast<std::ptrdiff_t>(first - box.start[axis]) * from_stride;
      to += static_cast<std::ptrdiff_t>(first - chunk_start[axis]) * to_stride;
    }
    from_stride *= static_cast<std::ptrdiff_t>(box.count[axis]);
    to_stride *= static_cast<std::ptrdiff_t>(chunk[axis]);
  }
  if (!whole) detail::fill_items(out, fill);
  copy.run(from, to);
}

}  // namespace runrig::hdf5
